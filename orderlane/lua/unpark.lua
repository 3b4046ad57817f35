-- Lets a parked lane run again: its head is asked for at the exchange once more, the deaths counted against it forgotten.
-- KEYS: 1 parked  2 ready  3 owners  4 bell  5 waiting  6 intents
-- ARGV: 1 lane
-- Returns: 1 when the lane was parked, 0 when it was not (nothing is written).
-- Safe to run twice: the second run finds the lane no longer parked.

local lane = ARGV[1]
if redis.call('ZREM', KEYS[1], lane) == 0 then
    return 0
end
local head = redis.call('ZRANGEBYLEX', KEYS[5], '[' .. lane .. '\0', '(' .. lane .. '\1', 'LIMIT', 0, 1)[1]
if head then
    -- `lane NUL rank entry`, with the length of each number of the entry in front of it (see orderlane/keys.py)
    local ms, sequence = string.match(string.sub(head, #lane + 3), '^%u(%d+)%u(%d+)$')
    redis.pcall('XCLAIM', KEYS[6], 'workers', 'pool', 0, ms .. '-' .. sequence, 'RETRYCOUNT', 1, 'JUSTID')
end
-- A lane that someone runs becomes ready by itself when that run ends.
if redis.call('HEXISTS', KEYS[3], lane) == 0 then
    redis.call('ZADD', KEYS[2], 0, lane)
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', 16, '*', 'lane', '1')
end
return 1
