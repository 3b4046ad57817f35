-- Lowers buckets to what the venue's own count leaves; never raises one.
-- KEYS: for each bucket: the penalty key of its scope, its own key
-- ARGV: for each bucket five integers: 1 `1` when that penalty empties it, else `0`  2 ceiling, grains (may be negative)
--       3 capacity, tokens  4 and 5 refill: so many tokens in so many ms
-- Returns: how many buckets were lowered.
-- Safe to run twice: a ceiling is a bound, and the second run finds the level at or a little above it.

-- include: buckets.lua

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lowered = 0
for i = 1, #KEYS / 2 do
    local a = (i - 1) * 5
    local shut_until = ARGV[a + 1] == '1' and buckets_shut_until(KEYS[2 * i - 1]) or 0
    lowered = lowered + buckets_lower(KEYS[2 * i], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]),
        tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]), shut_until, now)
end
return lowered
