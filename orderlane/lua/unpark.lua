-- Lets a parked lane run again: its head is asked for at the exchange once more.
-- KEYS: 1 parked  2 ready  3 owners  4 bell
-- ARGV: 1 lane
-- Returns: 1 when the lane was parked, 0 when it was not (nothing is written).
-- Safe to run twice: the second run finds the lane no longer parked.

if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then
    return 0
end
-- A lane that someone runs becomes ready by itself when that run ends.
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 0 then
    redis.call('ZADD', KEYS[2], 0, ARGV[1])
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', 16, '*', 'lane', '1')
end
return 1
