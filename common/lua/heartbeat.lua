-- Renews a worker's lease, unless it has ended: a worker that was away too long must start over under a new id.
-- KEYS: 1 workers  2 load  3 standings  4 disabled
-- ARGV: 1 worker id  2 lease, ms  3 lease of a worker that has no lanes, ms
-- Returns: {the lease given, ms, or 0 when it has ended or the id is not known; Redis TIME, ms; {field, standing, ...};
--       {field, disabled strategy, ...}}
-- Safe to run twice: it sets the lease's end, it adds nothing to it.

-- include: standings.lua

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not lease or tonumber(lease) < now then
    return {0, now, declared_in(KEYS[3]), declared_in(KEYS[4])}
end
local given = ARGV[redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 and 2 or 3]
redis.call('ZADD', KEYS[1], now + given, ARGV[1])
return {tonumber(given), now, declared_in(KEYS[3]), declared_in(KEYS[4])}
