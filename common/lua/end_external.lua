-- Notes that orders which the pool did not place are not open any more, and forgets those that ended long ago.
-- KEYS: 1 external:<account>  2 external_ended:<account>
-- ARGV: 1 how long an ended one is kept, ms  2 how many of them at most  3… the orders' names
-- Returns: how many had not been noted as ended.
-- Safe to run twice: the second run finds them noted.

local external, ended = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local new = 0
for i = 3, #ARGV do
    if redis.call('HEXISTS', external, ARGV[i]) == 1 then
        new = new + redis.call('ZADD', ended, 'NX', string.format('%d', now), ARGV[i])
    end
end
local function forget(names)
    for _, name in ipairs(names) do
        redis.call('HDEL', external, name)
        redis.call('ZREM', ended, name)
    end
end
forget(redis.call('ZRANGEBYSCORE', ended, '-inf', string.format('%d', now - ARGV[1]), 'LIMIT', 0, 1000))
local excess = redis.call('ZCARD', ended) - ARGV[2]
if excess > 0 then
    forget(redis.call('ZRANGE', ended, 0, math.min(excess, 1000) - 1))
end
return new
