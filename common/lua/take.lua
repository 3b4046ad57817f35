-- Renews the worker's lease, frees the lanes of workers whose lease has ended, sorts new stream entries into
-- their lanes, and gives up to `want` ready lanes to the worker.
-- KEYS: 1 intents  2 waiting  3 owners  4 ready  5 workers  6 load  7 hungry  8 grants  9 bell  10 parked
--       11 drained  12 control  13 unseen  14 unread  15 standings  16 notes  17 disabled
-- ARGV: 1 worker id  2 grant (this worker's count of calls, growing)  3 lanes wanted  4 lease, ms
--       5 until when a new worker id may join by this call, ms by Redis TIME; `` once it has joined
--       6 how many new entries to read at most  7 lease of a worker that has no lanes, ms
-- Returns: {'lost'} when the lease has ended, {'stale'} when a later grant is known, or
--       {'ok', now ms, last id of intents, last id of bell, doubt_from ms, doubt_before ms, reaped workers,
--        new entries read, the lease given, ms, when the first lease of another worker with lanes ends, ms, or 0,
--        {field, standing, ...}, {field, disabled strategy, ...}, {lane, rank, entry, deaths, {field, value, ...}, news} ...}
-- Safe to run twice: the second call with the same grant answers 'stale' and gives nothing; a worker that got
--       no answer releases that grant, which also refuses this call should it arrive late. A call to join that
--       arrives when all trace of its worker is gone comes after its time.

-- include: lane.lua
-- include: enqueue.lua
-- include: standings.lua

local k = {
    intents = KEYS[1], waiting = KEYS[2], owners = KEYS[3], ready = KEYS[4], workers = KEYS[5], load = KEYS[6],
    hungry = KEYS[7], grants = KEYS[8], bell = KEYS[9], parked = KEYS[10], drained = KEYS[11], unseen = KEYS[13],
    unread = KEYS[14], notes = KEYS[16],
}
local control = KEYS[12]
local worker, grant, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()

local function lease_lives()
    local lease = redis.call('ZSCORE', k.workers, worker)
    if not lease then
        return ARGV[5] ~= '' and now <= tonumber(ARGV[5])
    end
    return tonumber(lease) >= now
end

local function reap()
    local gone = redis.call('ZRANGEBYSCORE', k.workers, '-inf', '(' .. string.format('%.0f', now))
    if #gone == 0 then
        return 0
    end
    local is_gone = {}
    for _, id in ipairs(gone) do
        is_gone[id] = true
    end
    local owners = redis.call('HGETALL', k.owners)
    for i = 1, #owners, 2 do
        local lane, id, _, entry = owners[i], parse_owner(owners[i + 1])
        if is_gone[id] then
            redis.pcall('XCLAIM', k.intents, GROUP, CONSUMER, 0, entry, -- no stream any more: nothing to count
                'RETRYCOUNT', deaths_of(k, entry) + 2, 'JUSTID')
            redis.call('HDEL', k.owners, lane)
            make_ready(k, lane)
        end
    end
    for _, id in ipairs(gone) do
        redis.call('ZREM', k.workers, id)
        redis.call('ZREM', k.hungry, id)
        redis.call('HDEL', k.load, id)
        redis.call('HDEL', k.grants, id)
    end
    ring(k)
    return #gone
end

local just_read = {}

-- So many entries of each account (`` where none can be read) have been sorted into their lanes; once all there are have
-- been, nothing is unread. Clients alone raise that count, so that what others append lowers it too soon: until the
-- last page is read, an account may get more than its limit. Nothing fails for a foreign value under its key.
local function note_read(of_account, all)
    if all then
        redis.call('DEL', k.unread)
        return
    end
    for account, count in pairs(of_account) do
        local left = redis.pcall('HINCRBY', k.unread, account, -count)
        if type(left) ~= 'number' or left <= 0 then
            redis.pcall('HDEL', k.unread, account)
        end
    end
end

-- Sorts new entries into their lanes; how many, or the error reply.
local function read_new(count)
    local reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', count, 'STREAMS', k.intents, '>')
    if reply and reply.err then
        if not string.find(reply.err, 'NOGROUP', 1, true) then
            return reply
        end
        redis.call('XGROUP', 'CREATE', k.intents, GROUP, '0', 'MKSTREAM')
        return read_new(count)
    end
    if not reply then
        note_read({}, true)
        return 0
    end
    local of_account = {}
    for _, entry in ipairs(reply[1][2]) do
        local account = string.match(enqueue(k, entry[1], entry[2]), '^([^|]*)|') or ''
        of_account[account] = (of_account[account] or 0) + 1
        just_read[entry[1]] = entry[2]
    end
    note_read(of_account, #reply[1][2] < tonumber(count))
    return #reply[1][2]
end

local function give()
    local runs = {}
    local popped = want > 0 and redis.call('ZPOPMIN', k.ready, want) or {}
    for i = 1, #popped, 2 do
        local lane = popped[i]
        local rank, entry = head(k, lane)
        if rank then
            runs[#runs + 1] = hand_out(k, lane, worker .. '#' .. ARGV[2], rank, entry, just_read[entry])
        end
    end
    if #runs > 0 then
        redis.call('HINCRBY', k.load, worker, #runs)
    end
    if #runs < want then
        redis.call('ZADD', k.hungry, want - #runs, worker)
    else
        redis.call('ZREM', k.hungry, worker)
    end
    return runs
end

-- Nobody waits for a worker without lanes, so that one keeps its place for longer and has to ask less often.
local function lease_given()
    if redis.call('HEXISTS', k.load, worker) == 1 then
        return ARGV[4]
    end
    redis.call('ZADD', k.workers, now + ARGV[7], worker)
    return ARGV[7]
end

-- When the first lease of another worker with lanes ends, or 0. A worker with nothing to do may sleep until then:
-- what gives lanes to others in the meantime wakes it, too.
local function next_end()
    local leases = redis.call('ZRANGE', k.workers, 0, -1, 'WITHSCORES')
    for i = 1, #leases, 2 do
        if leases[i] ~= worker and redis.call('HEXISTS', k.load, leases[i]) == 1 then
            return tonumber(leases[i + 1])
        end
    end
    return 0
end

local function last_id(stream)
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    return last and last[1] or '0-0'
end

if not lease_lives() then
    return {'lost'}
end
if tonumber(redis.call('HGET', k.grants, worker) or 0) >= grant then
    return {'stale'}
end
redis.call('ZADD', k.workers, now + ARGV[4], worker)
redis.call('HSET', k.grants, worker, ARGV[2])
local reaped = reap()
local read = read_new(ARGV[6])
if type(read) == 'table' then
    return read
end
local runs = give()
local doubt = redis.call('HMGET', control, 'doubt_from', 'doubt_before')
local answer = {
    'ok', now, last_id(k.intents), last_id(k.bell), tonumber(doubt[1] or 0), tonumber(doubt[2] or 0), reaped,
    read, tonumber(lease_given()), next_end(), declared_in(KEYS[15]), declared_in(KEYS[17]),
}
for _, run in ipairs(runs) do
    answer[#answer + 1] = run
end
return answer
