-- Notes fills of one order, each once for ever, with its event; what they change of the record's sums, and what they make
-- of the account's position and balances.
-- KEYS: 1 stream:<account>  2 order  3 fills:<client order id>  4 events  5 positions:<account>  6 balances:<account>
--       7… followers: the records of the intents that were merged into the order
-- ARGV: 1 holder of the account's stream: the fence
--       2 version that the record must have  3 the record (JSON) with its fees and average put right, or `` to leave it
--       4 retention, ms, of the noted fills
--       5 number of figures these fills change, then for each: its key (5 or 6), its field, the version it must have
--       (0: it is not there), its new value
--       then the number of followers and for each its entry and its record (JSON, or `` to leave it), which are written with
--       the record; the number of their events, and these (JSON)
--       then for each fill: its trade id, the fill (JSON), its event (JSON)
-- Returns: {'ok', version, fills noted}, {'fenced'}: another process holds the stream, or {'conflict'}: the record or a
--       figure has another version, or one of the fills is noted.
-- Safe to run twice: all is written or nothing, and only while none of these fills is noted. So a fill counts once in the
--       events, in the sums, in the position and in the balances, whoever notes it and how often.

-- include: figures.lua

local stream, order, fills, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', stream, 'holder', 'until')
if held[1] ~= ARGV[1] or (tonumber(held[2]) or 0) <= now then
    return {'fenced'}
end
local version = redis.call('HGET', order, 'version')
if version ~= ARGV[2] then
    return {'conflict'}
end
local FIRST_FIGURE = 6
local FIRST_FOLLOWER = 7
local after_figures = FIRST_FIGURE + 4 * ARGV[5]
local followers = ARGV[after_figures] + 0
local told = after_figures + 2 * followers + 1
local first_fill = told + ARGV[told] + 1
for i = FIRST_FIGURE, after_figures - 1, 4 do
    if figure_version(KEYS[ARGV[i] + 0], ARGV[i + 1]) ~= ARGV[i + 2] then
        return {'conflict'}
    end
end
for i = first_fill, #ARGV, 3 do
    if redis.call('HEXISTS', fills, ARGV[i]) == 1 then
        return {'conflict'}
    end
end

local new = 0
for i = first_fill, #ARGV, 3 do
    redis.call('HSET', fills, ARGV[i], ARGV[i + 1])
    redis.call('XADD', events, '*', 'event', ARGV[i + 2])
    new = new + 1
end
for i = FIRST_FIGURE, after_figures - 1, 4 do
    redis.call('HSET', KEYS[ARGV[i] + 0], ARGV[i + 1], ARGV[i + 3])
end
redis.call('PEXPIRE', fills, ARGV[4])
if ARGV[3] ~= '' then
    version = string.format('%d', version + 1)
    redis.call('HSET', order, 'version', version, 'record', ARGV[3])
    for i = 1, followers do
        local follower, record = KEYS[FIRST_FOLLOWER + i - 1], ARGV[after_figures + 2 * i]
        local found = redis.call('HMGET', follower, 'status', 'entry')
        if record ~= '' and found[1] == 'MERGED' and found[2] == ARGV[after_figures + 2 * i - 1] then
            redis.call('HSET', follower, 'record', record)
            redis.call('HINCRBY', follower, 'version', 1)
        end
    end
    for i = told + 1, first_fill - 1 do
        redis.call('XADD', events, '*', 'event', ARGV[i])
    end
end
return {'ok', version + 0, new}
