-- What the scripts that move lanes share: how a queue is read, how a lane is freed, how an entry ends.
-- KEYS: none of its own; the including script passes key names in a table `k` (intents, waiting, owners, ready,
--       workers, load, hungry, grants, bell, parked, drained; those that hand out entries also unseen, those that end
--       entries also notes).
-- ARGV: none.
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: defines functions only; each says what repeating it does.

local GROUP, CONSUMER = 'workers', 'pool'
local BELL_LENGTH = 16
local TURN_MS = 5
local URGENCY = 1e13 -- what a step of urgency weighs among the ready lanes: more than any time in ms

-- include: fence.lua
-- include: queue.lua
-- include: notes.lua

local function score_of(rank, entry)
    local ms = math.min(tonumber(string.match(entry, '^(%d+)')), 9999999999999)
    return (tonumber(rank) or 0) * URGENCY + ms
end

-- Whether a lane is among the ready ones, for work no less urgent than this rank.
local function is_ready(k, lane, rank)
    local score = redis.call('ZSCORE', k.ready, lane)
    return score and math.floor(tonumber(score) / URGENCY) <= (tonumber(rank) or 0)
end

-- Puts a lane that nobody runs among the ready ones if it has work; repeating it changes nothing. One that is there keeps
-- its place, unless it has become more urgent.
local function make_ready(k, lane)
    local rank, entry = head(k, lane)
    if not rank or redis.call('ZSCORE', k.parked, lane) then
        return false
    end
    local before = redis.call('ZSCORE', k.ready, lane)
    if not before or math.floor(tonumber(before) / URGENCY) > (tonumber(rank) or 0) then
        redis.call('ZADD', k.ready, score_of(rank, entry), lane)
    end
    return true
end

local function ring(k)
    redis.call('XADD', k.bell, 'MAXLEN', '~', BELL_LENGTH, '*', 'lane', '1')
end

-- Takes the lane from its owner; a lane already free stays as it is.
local function disown(k, lane, worker)
    if redis.call('HEXISTS', k.owners, lane) == 1 then
        -- The count first: should it fail (a foreign value under its key), the lane still has its owner.
        if redis.call('HINCRBY', k.load, worker, -1) <= 0 then
            redis.call('HDEL', k.load, worker)
        end
        redis.call('HDEL', k.owners, lane)
    end
end

-- How many workers died with this entry in hand: the group's own delivery count, less the first delivery.
-- Someone may have deleted the stream, and its group with it: then nothing is known of it.
local function deaths_of(k, entry)
    local pending = redis.pcall('XPENDING', k.intents, GROUP, entry, entry, 1)
    return not pending.err and pending[1] and math.max(pending[1][4] - 1, 0) or 0
end

-- Whether something waits in the lane, from this entry on, that nobody has looked at and that is worth it.
local function has_news(k, lane, rank, entry)
    local from = redis.call('HGET', k.unseen, lane)
    return from and (from == '' or rank .. sortable(entry) >= from)
end

-- What a worker needs to run an entry of the lane: {lane, rank, entry, deaths, {field, value, ...}, 1 when the lane has
-- news to look at, else 0}. `fields` are the entry's where this script has just read it for the group, so that nobody can have died with it; else nil.
local function run_of(k, lane, rank, entry, fields)
    local news = has_news(k, lane, rank, entry) and 1 or 0
    if fields then
        return {lane, rank, entry, 0, fields, news}
    end
    local found = redis.call('XRANGE', k.intents, entry, entry)[1]
    return {lane, rank, entry, deaths_of(k, entry), found and found[2] or {}, news}
end

-- Gives an entry into the hands of `owner` (worker#grant): something more urgent may become the lane's head
-- while the owner is at it, so the entry is noted beside the owner, as worker#grant@entry.
local function hand_out(k, lane, owner, rank, entry, fields)
    redis.call('HSET', k.owners, lane, owner .. '@' .. entry)
    return run_of(k, lane, rank, entry, fields)
end

-- The worker, its grant and the entry in its hands, from a value of `owners`.
local function parse_owner(value)
    return string.match(value, '^(.*)#(%d+)@(%d+%-%d+)$')
end

-- Whether this worker should hand a lane with work to one that has clearly fewer and asked for more. Lanes that
-- are ready already will go to the hungry, so they count as theirs: else all would be given up at once.
local function should_give_up(k, worker, hungry)
    local loads = redis.call('HMGET', k.load, worker, unpack(hungry))
    local poorest, theirs
    for i, id in ipairs(hungry) do
        local load = tonumber(loads[i + 1] or 0)
        if id ~= worker and (not theirs or load < theirs) then
            poorest, theirs = id, load
        end
    end
    if not poorest or tonumber(loads[1] or 0) <= theirs + redis.call('ZCARD', k.ready) + 1 then
        return false
    end
    if tonumber(redis.call('ZINCRBY', k.hungry, -1, poorest)) <= 0 then
        redis.call('ZREM', k.hungry, poorest)
    end
    return true
end

-- Where lanes are ready that no worker has room for, the first of them no less urgent than what comes next in this one:
-- puts it behind them and frees it, so that none waits until another is empty. Not more often than every TURN_MS, since
-- a turn costs a call of take.
local function take_turns(k, lane, worker, rank)
    local first = redis.call('ZRANGE', k.ready, 0, 0, 'WITHSCORES')
    if not first[2] or math.floor(tonumber(first[2]) / URGENCY) > (tonumber(rank) or 0) then
        return false
    end
    local now, stamp = now_ms()
    local turned_at = redis.pcall('HGET', k.drained, 'turned_at')
    if type(turned_at) == 'string' and now < tonumber(turned_at) + TURN_MS then
        return false
    end
    redis.pcall('HSET', k.drained, 'turned_at', stamp)
    disown(k, lane, worker)
    redis.call('ZADD', k.ready, (tonumber(rank) or 0) * URGENCY + now, lane)
    return true -- no bell: nobody sleeps, all are full, and this worker has room now
end

-- Ends an entry: acked, deleted, out of its queue, counted once. Repeating it changes nothing.
local function end_entry(k, lane, rank, entry)
    redis.call('XACK', k.intents, GROUP, entry)
    redis.call('XDEL', k.intents, entry)
    local sorted = sortable(entry)
    drop_notes(k, lane, sorted)
    if redis.call('ZREM', k.waiting, lane .. '\0' .. rank .. sorted, lane .. '\0!' .. sorted) > 0 then
        redis.pcall('HINCRBY', k.drained, 'total', 1) -- a figure for people: whatever is under its key, nothing fails
    end
end

-- After an entry of a lane that `owner` runs has ended: the lane's next run for it, or {} when the lane was freed. To be
-- called once; what it answered is answered again by `same_again`.
local function go_on(k, lane, owner, worker)
    local rank, entry = head(k, lane)
    if not rank then
        disown(k, lane, worker)
        return {}
    end
    local hungry = redis.call('ZRANGE', k.hungry, 0, -1)
    if #hungry > 0 and should_give_up(k, worker, hungry) then
        disown(k, lane, worker)
        if make_ready(k, lane) then
            ring(k)
        end
        return {}
    end
    if #hungry == 0 and take_turns(k, lane, worker, rank) then
        return {}
    end
    return hand_out(k, lane, owner, rank, entry)
end

-- The run of the entry that `owner` has in hand, as it was given before, or {}. Where the entry in hand has ended and
-- nothing followed (a script that failed halfway), what should have followed.
local function same_again(k, lane, owner, worker)
    local entry = in_hand(k, lane, owner)
    if not entry then
        return {}
    end
    for rank in string.gmatch('!0123456789', '.') do
        if redis.call('ZSCORE', k.waiting, member(lane, rank, entry)) then
            return run_of(k, lane, rank, entry)
        end
    end
    return go_on(k, lane, owner, worker)
end
