-- The time, and the fence: whether a worker still runs a lane.
-- KEYS: none of its own; the including script passes key names in a table `k` (owners, workers).
-- ARGV: none.
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: it reads, and writes nothing.
--
-- To print a number is dear (half a microsecond), to read one is cheap (`ARGV[1] + 0`, less than tonumber takes): what
-- came as text and goes on as text stays text. A number handed to redis.call is printed exactly below 2^53.

-- Redis' time in ms, as a number and as text.
local function now_ms()
    local time = redis.call('TIME')
    local text = time[1] .. string.sub('00000' .. time[2], -6, -4)
    return text + 0, text
end

-- The entry of the lane that `owner` has in hand, or nil when it does not own the lane.
local function in_hand(k, lane, owner)
    local value = redis.call('HGET', k.owners, lane) or ''
    if string.sub(value, 1, #owner + 1) == owner .. '@' then
        return string.sub(value, #owner + 2)
    end
    return nil
end

-- Whether the lease of a worker lives.
local function is_alive(k, worker, now)
    local lease = redis.call('ZSCORE', k.workers, worker)
    return lease and tonumber(lease) >= now
end

-- Whether `owner` (worker#grant) runs the lane and its lease lives.
local function holds(k, lane, owner, worker, now)
    return in_hand(k, lane, owner) and is_alive(k, worker, now)
end
