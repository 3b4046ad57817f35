-- Notes fills of one order, each once for ever, with its event; and what they change of the record's sums.
-- KEYS: 1 stream:<account>  2 order  3 fills:<client order id>  4 events
-- ARGV: 1 holder of the account's stream: the fence
--       2 version that the record must have  3 the record (JSON) with its fees and average put right, or `` to leave it
--       4 retention, ms, of the noted fills
--       5… for each fill: its trade id, the fill (JSON), its event (JSON)
-- Returns: {'ok', version, fills that were new}, {'fenced'}: another process holds the stream, or {'conflict'}: the record
--       has another version.
-- Safe to run twice: a fill is noted, and its event appended, only where its trade id is new; a record that was put right
--       has a new version, so the second run is a conflict and writes nothing.

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

local new = 0
for i = 5, #ARGV, 3 do
    if redis.call('HSETNX', fills, ARGV[i], ARGV[i + 1]) == 1 then
        redis.call('XADD', events, '*', 'event', ARGV[i + 2])
        new = new + 1
    end
end
redis.call('PEXPIRE', fills, ARGV[4])
if ARGV[3] ~= '' then
    version = string.format('%d', version + 1)
    redis.call('HSET', order, 'version', version, 'record', ARGV[3])
end
return {'ok', version + 0, new}
