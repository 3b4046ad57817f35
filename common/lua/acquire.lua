-- Takes tokens from several buckets, all or nothing.
-- KEYS: the penalty key of each scope, then the key of each bucket (the block of buckets.lua)
-- ARGV: number of penalties, number of buckets, and six integers for each bucket (the block of buckets.lua)
-- Returns: {ms to wait, 0 when the tokens were taken; Redis TIME, ms}
-- Safe to run twice: the second run takes the tokens again, so that less is sent than allowed, never more.

-- include: buckets.lua

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return { buckets_acquire(1, 1, now), now }
