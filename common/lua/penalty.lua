-- Shuts a scope for every worker, after the venue answered that we ask too much.
-- KEYS: 1 the scope's penalty key
-- ARGV: 1 for how long, ms  2 how long after it buckets restart from empty, ms: what a bucket needs to fill
-- Returns: until when the scope is shut, ms by Redis TIME: the later of the end known and the one asked for.
-- Safe to run twice: a second run later on moves the end by as much as it is later, which errs to the safe side.

-- include: buckets.lua

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return buckets_shut(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), now)
