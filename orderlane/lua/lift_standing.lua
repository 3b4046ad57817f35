-- Ends a standing: what it held goes on, unless something else holds it.
-- KEYS: 1 standings  2 events
-- ARGV: 1 field: scope|cause  2 the event (JSON)
--       3 `1`: only where 4 is what stands there now, `0`: whatever does  4 what was seen (JSON)
-- Returns: 1 when it was lifted, 0 when there was none, or another than what was seen.
-- Safe to run twice: the second run finds nothing to lift, and appends no event.

local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before or (ARGV[3] == '1' and before ~= ARGV[4]) then
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('XADD', KEYS[2], '*', 'event', ARGV[2])
return 1
