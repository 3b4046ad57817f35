-- Carries out one decision about entries that wait in a lane: some end without a request, one may go on changed; and one
-- that had been merged into that one may be no part of it any more. All or nothing, and only while none of them has begun.
-- KEYS: 1 intents  2 waiting  3 owners  4 ready  5 workers  6 load  7 hungry  8 grants  9 bell  10 parked
--       11 drained  12 unseen  13 notes  14 events  15… the order of each entry, in the order of ARGV
-- ARGV: 1 lane  2 owner (worker#grant)  3 worker id  4 entry in hand  5 token of this write (unique)
--       6 retention, ms, of the records that end  7 number of entries, then for each of them
--       1 entry (stream id)  2 its rank (`` for one that has ended as MERGED)  3 digest of its intent  4 status it reaches (QUEUED: it goes on, changed)
--       5 record (JSON)  6 the event (JSON)  7 `1`: its record lasts as long as that of the order it has become part of
-- Returns: {'ok', run} with the lane's next run when the entry in hand has ended, else {}; {'fenced'}; or
--       {'moved', entry} when that entry has begun, ended, or has a record that is not its own: nothing was written.
-- Safe to run twice: the second run finds its own token on the first record, writes nothing and answers the same.

-- include: lane.lua
-- include: record.lua

local FIRST_ORDER, FIRST_ENTRY, FIELDS = 15, 8, 7

local k = {
    intents = KEYS[1], waiting = KEYS[2], owners = KEYS[3], ready = KEYS[4], workers = KEYS[5], load = KEYS[6],
    hungry = KEYS[7], grants = KEYS[8], bell = KEYS[9], parked = KEYS[10], drained = KEYS[11],
    unseen = KEYS[12], notes = KEYS[13],
}
local lane, owner, worker, held, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local count = tonumber(ARGV[7])

local function argument(i, field)
    return ARGV[FIRST_ENTRY + (i - 1) * FIELDS + field - 1]
end

-- The version to write for the i-th entry; nil when it may not be touched any more.
local function next_version(i)
    local entry, rank = argument(i, 1), argument(i, 2)
    local current = record_read(KEYS[FIRST_ORDER + i - 1], 'token')
    if rank == '' then
        return current[1] == 'MERGED' and current[3] == entry and current[2] + 1 or nil
    end
    if not redis.call('ZSCORE', k.waiting, member(lane, rank, entry)) then
        return nil
    end
    if current[1] and (current[1] ~= 'QUEUED' or current[3] ~= entry) then
        return nil
    end
    return (current[2] or 0) + 1
end

local function write(i, version)
    local order, status = KEYS[FIRST_ORDER + i - 1], argument(i, 4)
    redis.call('HSET', order, 'status', status, 'version', version, 'token', token .. ' ' .. version,
        'record', argument(i, 5), 'entry', argument(i, 1), 'digest', argument(i, 3))
    if status == 'QUEUED' then
        redis.call('HSET', order, 'edited', '1') -- `begin` then wants to be told of this version
    elseif argument(i, 7) == '1' then
        redis.call('PERSIST', order) -- `transition` sees to it when that order has ended
    else
        redis.call('PEXPIRE', order, ARGV[6])
    end
end

local first = record_read(KEYS[FIRST_ORDER], 'token')
if record_version_of(first, token) then
    return {'ok', in_hand(k, lane, owner) == held and {} or same_again(k, lane, owner, worker)}
end
if not holds(k, lane, owner, worker, now_ms()) then
    return {'fenced'}
end
local versions, ends_held = {}, false
for i = 1, count do
    versions[i] = next_version(i)
    if not versions[i] then
        return {'moved', argument(i, 1)}
    end
    ends_held = ends_held or argument(i, 1) == held and argument(i, 4) ~= 'QUEUED'
end
-- What may fail (a foreign value under a key) comes before the records, and they before the ends: a decision of which
-- one half is on record would be a wrong account, and an entry whose record has ended is ended by whoever runs it.
for i = 1, count do
    redis.call('XADD', KEYS[14], '*', 'event', argument(i, 6))
end
for i = 1, count do
    write(i, versions[i])
end
for i = 1, count do
    if argument(i, 4) ~= 'QUEUED' and argument(i, 2) ~= '' then
        end_entry(k, lane, argument(i, 2), argument(i, 1))
    end
end
return {'ok', ends_held and go_on(k, lane, owner, worker) or {}}
