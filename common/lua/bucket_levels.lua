-- Reads buckets without taking anything.
-- KEYS: the penalty key of each scope, then the key of each bucket (the block of buckets.lua)
-- ARGV: number of penalties, number of buckets, and six integers for each bucket (the block of buckets.lua)
-- Returns: {Redis TIME, ms; then for each bucket its whole tokens (negative: owed or shut) and the ms until it is full}
-- Safe to run twice: it takes nothing.

-- include: buckets.lua

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local penalties, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local answer = { now }
for i = 1, count do
    local a = 3 + (i - 1) * BUCKETS_ARGUMENTS
    local ruled_by = tonumber(ARGV[a])
    local capacity, refill, refill_ms = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
    local shut_until = ruled_by > 0 and buckets_shut_until(KEYS[ruled_by]) or 0
    local level = buckets_level(KEYS[penalties + i], capacity, refill, refill_ms, shut_until, now)
    answer[#answer + 1] = math.floor(level / refill_ms)
    answer[#answer + 1] = math.ceil((capacity * refill_ms - level) / refill)
end
return answer
