-- Looks through one page of the pool's bookkeeping for what nobody would touch any more, and puts it right. A run of
-- the sweep calls it phase after phase, page after page.
-- KEYS: 1 intents  2 waiting  3 owners  4 ready  5 workers  6 load  7 hungry  8 grants  9 bell  10 parked
--       11 drained  12 unseen  13 notes
-- ARGV: 1 phase:
--         `owners`   lanes whose worker left no living lease become free; the entry in hand counts one death
--         `workers`  workers whose lease has ended and who own nothing are forgotten, and what is left of others
--         `entries`  entries the group was given, but that no lane holds, go into their lane's queue
--         `pending`  entries the group still waits for, but that were deleted from the stream, are acked
--         `lanes`    lanes with work that nobody runs, that are not ready and not parked become ready
--         `parked`   lanes that are parked, but have nothing left to wait for, are no longer parked
--       2 cursor: `` at first, then what the call before returned  3 how many to look at, at most
-- Returns: {cursor of the next page, or `` after the last; how many were put right}
-- Safe to run twice: what was put right is no longer found. It changes nothing that a living worker holds.

-- include: lane.lua
-- include: enqueue.lua

local k = {
    intents = KEYS[1], waiting = KEYS[2], owners = KEYS[3], ready = KEYS[4], workers = KEYS[5], load = KEYS[6],
    hungry = KEYS[7], grants = KEYS[8], bell = KEYS[9], parked = KEYS[10], drained = KEYS[11],
    unseen = KEYS[12], notes = KEYS[13],
}
local cursor, limit = ARGV[2], tonumber(ARGV[3])
local now = now_ms()

local function lease_lives(worker)
    local lease = redis.call('ZSCORE', k.workers, worker)
    return lease and tonumber(lease) >= now
end

local function scan(command, key)
    local page = redis.call(command, key, cursor == '' and '0' or cursor, 'COUNT', limit)
    return page[1] == '0' and '' or page[1], page[2]
end

local function after_cursor()
    return cursor == '' and '-' or '(' .. cursor
end

local function last_of(page, id_of)
    return #page == limit and id_of(page[#page]) or ''
end

local function first_field(row)
    return row[1]
end

-- The last entry given to the group, or nil where there is no stream or no group: then take gives all anew.
local function last_delivered()
    local groups = redis.pcall('XINFO', 'GROUPS', k.intents)
    for _, group in ipairs(groups.err and {} or groups) do
        local fields = {}
        for i = 1, #group, 2 do
            fields[group[i]] = group[i + 1]
        end
        if fields.name == GROUP then
            return fields['last-delivered-id']
        end
    end
    return nil
end

local function is_held(entry, fields)
    local intent = read_intent(fields)
    local lane = intent and (intent.account .. '|' .. intent.symbol) or ('!' .. entry)
    for rank in string.gmatch('!5201346789', '.') do
        if redis.call('ZSCORE', k.waiting, member(lane, rank, entry)) then
            return true
        end
    end
    return false
end

local phases = {}

function phases.owners()
    local following, page = scan('HSCAN', k.owners)
    local freed = 0
    for i = 1, #page, 2 do
        local lane, worker, _, entry = page[i], parse_owner(page[i + 1])
        if not worker or not lease_lives(worker) then
            if worker then
                redis.pcall('XCLAIM', k.intents, GROUP, CONSUMER, 0, entry, -- as take counts it
                    'RETRYCOUNT', deaths_of(k, entry) + 2, 'JUSTID')
                disown(k, lane, worker)
            else
                redis.call('HDEL', k.owners, lane)
            end
            make_ready(k, lane)
            freed = freed + 1
        end
    end
    return following, freed
end

-- All at once: there are as many as there are workers.
function phases.workers()
    local known, gone = {}, 0
    for _, worker in ipairs(redis.call('ZRANGEBYSCORE', k.workers, '-inf', '(' .. string.format('%.0f', now))) do
        if tonumber(redis.call('HGET', k.load, worker) or 0) <= 0 then
            redis.call('ZREM', k.workers, worker)
            known[worker] = true
        end
    end
    for _, list in ipairs({redis.call('HKEYS', k.load), redis.call('HKEYS', k.grants),
        redis.call('ZRANGE', k.hungry, 0, -1)}) do
        for _, worker in ipairs(list) do
            known[worker] = true
        end
    end
    for worker in pairs(known) do
        if not redis.call('ZSCORE', k.workers, worker) then
            redis.call('HDEL', k.load, worker)
            redis.call('HDEL', k.grants, worker)
            redis.call('ZREM', k.hungry, worker)
            gone = gone + 1
        end
    end
    return '', gone
end

function phases.entries()
    local last = last_delivered()
    if not last then
        return '', 0
    end
    local page = redis.call('XRANGE', k.intents, after_cursor(), last, 'COUNT', limit)
    local queued = 0
    for _, row in ipairs(page) do
        local entry, fields = row[1], row[2]
        if not is_held(entry, fields) then
            redis.call('XCLAIM', k.intents, GROUP, CONSUMER, 0, entry, 'RETRYCOUNT', 1, 'FORCE', 'JUSTID')
            enqueue(k, entry, fields)
            queued = queued + 1
        end
    end
    return last_of(page, first_field), queued
end

function phases.pending()
    local page = redis.pcall('XPENDING', k.intents, GROUP, after_cursor(), '+', limit)
    if page.err then
        return '', 0
    end
    local acked = 0
    for _, row in ipairs(page) do
        if #redis.call('XRANGE', k.intents, row[1], row[1]) == 0 then
            acked = acked + redis.call('XACK', k.intents, GROUP, row[1])
        end
    end
    return last_of(page, first_field), acked
end

function phases.lanes()
    local lane, woken = cursor, 0
    for _ = 1, limit do
        local from = lane == '' and '-' or '(' .. lane .. '\1'
        local first = redis.call('ZRANGEBYLEX', k.waiting, from, '+', 'LIMIT', 0, 1)[1]
        if not first then
            return '', woken
        end
        lane = string.sub(first, 1, string.find(first, '\0', 1, true) - 1)
        if redis.call('HEXISTS', k.owners, lane) == 0 and not redis.call('ZSCORE', k.ready, lane)
            and make_ready(k, lane) then
            woken = woken + 1
        end
    end
    return lane, woken
end

function phases.parked()
    local following, page = scan('ZSCAN', k.parked)
    local freed = 0
    for i = 1, #page, 2 do
        if not head(k, page[i]) then
            freed = freed + redis.call('ZREM', k.parked, page[i])
        end
    end
    return following, freed
end

local following, repaired = phases[ARGV[1]]()
if repaired > 0 then
    ring(k)
end
return {following, repaired}
