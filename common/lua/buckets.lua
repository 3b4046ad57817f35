-- Token buckets: how a level is read, spent, lowered and shut, for the scripts that include this file.
-- KEYS: none of its own. buckets_acquire takes a block that begins at KEYS[first_key]: the penalty key of each
--       scope of the request, then the key of each bucket.
-- ARGV: none of its own. Its block begins at ARGV[first_arg]: number of penalties, number of buckets, and for each
--       bucket six integers: 1 which penalty empties it (counted from 1; 0: none)  2 cost, tokens
--       3 reserve: tokens that must be left after it  4 capacity, tokens  5 and 6 refill: so many tokens in so many ms
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: tokens acquired twice are spent twice, so that less is sent, never more. Lowering and shutting
--       set a bound, they add nothing.
--
-- A bucket is a hash: `level` in grains, `unit` grains to a token, `at` ms by Redis TIME. With a refill of n tokens in
-- d ms a token is d grains and a ms adds n of them: every number is an integer below 2^53, so nothing drifts, and
-- redis.call writes it digit by digit. `+ 0` reads a text of digits as its number, for less than tonumber takes.
-- A bucket that is not there is full; each one expires soon after it has become so.

local BUCKETS_ARGUMENTS = 6
local BUCKETS_LINGER_MS = 1000

-- Until when (ms) the scope of a penalty key is shut, or was shut lately; 0 for never.
local function buckets_shut_until(penalty)
    return (redis.call('HGET', penalty, 'until') or 0) + 0
end

-- The grains in a bucket now. While its scope is shut the level is so far below zero that it gets to zero when the
-- scope opens: a bucket restarts empty, not full.
local function buckets_level(key, capacity, refill, refill_ms, shut_until, now)
    local full = capacity * refill_ms
    local state = redis.call('HMGET', key, 'level', 'unit', 'at')
    local level, at = full, 0
    if state[1] then
        level, at = state[1] + 0, state[3] + 0
        local unit = state[2] + 0
        if unit ~= refill_ms then
            level = math.floor(level * refill_ms / unit)
        end
        if now > at then
            level = level + (now - at) * refill
        elseif now < at then
            -- The clock was set back: count on from here, or nothing is refilled until it has caught up.
            redis.call('HSET', key, 'at', now)
        end
        if level > full then
            level = full
        end
    end
    if at < shut_until then
        level = math.min(level, (now - shut_until) * refill)
    end
    return level
end

-- `unit` is `refill_ms` and `stamp` the time; where they are text, they need not be printed again.
local function buckets_keep(key, level, capacity, refill, unit, stamp)
    local refill_ms = unit + 0
    redis.call('HSET', key, 'level', level, 'unit', unit, 'at', stamp)
    redis.call('PEXPIRE', key, math.ceil((capacity * refill_ms - level) / refill) + BUCKETS_LINGER_MS)
end

-- Takes every cost from its bucket and returns 0, or takes none and returns the ms until all could be taken
-- (if nobody else takes any). `stamp`: `now` as text, where the caller has it.
local function buckets_acquire(first_key, first_arg, now, stamp)
    local penalties, count = ARGV[first_arg] + 0, ARGV[first_arg + 1] + 0
    local shut_until, wait = { [0] = 0 }, 0
    for i = 1, penalties do
        shut_until[i] = buckets_shut_until(KEYS[first_key + i - 1])
        wait = math.max(wait, shut_until[i] - now)
    end
    local levels = {}
    for i = 1, count do
        local a = first_arg + 2 + (i - 1) * BUCKETS_ARGUMENTS
        local refill, refill_ms = ARGV[a + 4] + 0, ARGV[a + 5] + 0
        local level = buckets_level(KEYS[first_key + penalties + i - 1], ARGV[a + 3] + 0, refill, refill_ms,
            shut_until[ARGV[a] + 0], now)
        local missing = (ARGV[a + 1] + ARGV[a + 2]) * refill_ms - level
        if missing > 0 then
            wait = math.max(wait, math.ceil(missing / refill))
        end
        levels[i] = level - ARGV[a + 1] * refill_ms
    end
    if wait > 0 then
        return wait
    end
    for i = 1, count do
        local a = first_arg + 2 + (i - 1) * BUCKETS_ARGUMENTS
        buckets_keep(KEYS[first_key + penalties + i - 1], levels[i], ARGV[a + 3] + 0, ARGV[a + 4] + 0,
            ARGV[a + 5], stamp or now)
    end
    return 0
end

-- Lowers a bucket to at most `ceiling` grains; returns 1 if it held more.
local function buckets_lower(key, ceiling, capacity, refill, refill_ms, shut_until, now)
    if buckets_level(key, capacity, refill, refill_ms, shut_until, now) <= ceiling then
        return 0
    end
    buckets_keep(key, ceiling, capacity, refill, refill_ms, now)
    return 1
end

-- Shuts a scope for at least so many ms; returns until when. The key stays `linger_ms` longer, so that buckets
-- read after the end still restart empty.
local function buckets_shut(penalty, for_ms, linger_ms, now)
    local shut_until = math.max(buckets_shut_until(penalty), now + for_ms)
    redis.call('HSET', penalty, 'until', shut_until)
    redis.call('PEXPIRE', penalty, math.max(shut_until - now, 0) + linger_ms)
    return shut_until
end
