-- Notes which Redis server holds the pool. A new one (restart, failover) may have forgotten its last second: from
-- then until the end of the grace time every intent is asked for at the exchange before it is first sent.
-- KEYS: 1 control  2 events  3 intents
-- ARGV: 1 run id of the server this connection reached  2 run id this process met last, or ``  3 grace, ms
--       4 event (JSON) to publish when the server changed
-- Returns: 1 when the server changed, 0 when it is the one known (or the first ever).
-- Safe to run twice: the second run finds the run id noted.
--
-- Stream ids may be ahead of the clock (it was set back, or another machine's went slower): an entry appended now gets an
-- id next to the last one, so the grace time counts from whichever is later.

local DAY_MS = 86400000 -- how far back one looks that remembers no event at all

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local noted = redis.call('HGET', KEYS[1], 'run_id')
if noted == ARGV[1] then
    return 0
end
redis.call('HSET', KEYS[1], 'run_id', ARGV[1])
if not noted and (ARGV[2] == '' or ARGV[2] == ARGV[1]) then
    return 0
end
local last = redis.pcall('XINFO', 'STREAM', KEYS[3])
local last_ms = 0
if not last.err then
    for i = 1, #last, 2 do
        if last[i] == 'last-generated-id' then
            last_ms = tonumber(string.match(last[i + 1], '^(%d+)'))
        end
    end
end
-- The last event is the last thing that Redis certainly remembers: what lanes did after it may be forgotten. While an
-- earlier restart is still in doubt, that one's holds.
local doubted = tonumber(redis.call('HGET', KEYS[1], 'doubt_before') or 0)
if doubted < now or redis.call('HEXISTS', KEYS[1], 'remembered_until') == 0 then
    local told = redis.pcall('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
    local told_ms = not told.err and told[1] and tonumber(string.match(told[1][1], '^(%d+)')) or now - DAY_MS
    redis.call('HSET', KEYS[1], 'remembered_until', string.format('%.0f', math.min(now, told_ms)))
end
redis.call('HSET', KEYS[1], 'doubt_from', string.format('%.0f', now),
    'doubt_before', string.format('%.0f', math.max(now, last_ms) + tonumber(ARGV[3])))
redis.call('XADD', KEYS[2], '*', 'event', ARGV[4])
return 1
