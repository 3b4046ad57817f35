-- One state change of one order, with its events, what it changes of the intents that are part of the order, and, if
-- asked, the end of its stream entry: all or nothing.
-- KEYS: 1 intents  2 waiting  3 owners  4 ready  5 workers  6 load  7 hungry  8 grants  9 bell  10 parked
--       11 drained  12 order  13 open:<account>  14 unknown  15 events  16 unseen  17 notes
--       18… followers: the records of the intents that were merged into this one
-- ARGV: 1 client order id  2 token of this write (unique)
--       3 lane  4 owner (worker#grant) and 5 worker id: the fence; both empty for a writer that owns no lane
--       6 version the record must have, or `new`: no record, or one QUEUED by this very entry
--       7 statuses it may leave, separated by blanks  8 status it reaches
--       9 entry (stream id)  10 its rank in the lane  11 digest of the intent, or `` to leave the one on record
--       12 record (JSON)
--       13 retention, ms, of a record that has ended; 0: the order is still open
--       14 then: `keep` the lane, `finish` the entry, or `park` the lane
--       15 number of followers, then for each of them its entry, and its record (JSON), or `` to leave it
--       then the events (JSON)
-- Returns: {'ok', version, now ms, next run or {}}, {'fenced'}, or {'conflict', field, value, ...} with the
--       record as it stands (no fields: there is none). A follower that has expired, or whose id is another entry's by
--       now, is left alone; the others last as long as the order's own record.
-- Safe to run twice: the second run finds its own token on the record, writes nothing more and answers the same; so
--       it does after a writer without a lane wrote in between, whose token has a field of its own.

-- include: lane.lua
-- include: record.lua

local k = {
    intents = KEYS[1], waiting = KEYS[2], owners = KEYS[3], ready = KEYS[4], workers = KEYS[5], load = KEYS[6],
    hungry = KEYS[7], grants = KEYS[8], bell = KEYS[9], parked = KEYS[10], drained = KEYS[11],
    unseen = KEYS[16], notes = KEYS[17],
}
local order, open, unknown, events = KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local id, token, lane, owner, worker = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local status, entry, rank, digest = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local retention, after = ARGV[13], ARGV[14]
local FIRST_FOLLOWER, followers = 18, ARGV[15] + 0
local now, stamp = now_ms()
local mark = owner ~= '' and 'token' or 'outside_token'

local function write(before, version)
    if digest ~= '' then
        redis.call('HSET', order, 'status', status, 'version', version, mark, token .. ' ' .. version,
            'record', ARGV[12], 'entry', entry, 'digest', digest)
    else
        redis.call('HSET', order, 'status', status, 'version', version, mark, token .. ' ' .. version,
            'record', ARGV[12])
    end
    if retention ~= '0' then
        redis.call('PEXPIRE', order, retention)
        redis.call('ZREM', open, id)
    else
        redis.call('ZADD', open, stamp, id)
    end
    if status == 'UNKNOWN' then
        redis.pcall('ZADD', unknown, 'NX', stamp, id) -- a list for people: a foreign value there must stop nothing
    elseif before ~= 'SUBMITTED' then
        redis.pcall('ZREM', unknown, id) -- `begin` has seen to it
    end
    for i = 16 + 2 * followers, #ARGV do
        redis.call('XADD', events, '*', 'event', ARGV[i])
    end
end

local function write_followers()
    for i = 1, followers do
        local follower, record = KEYS[FIRST_FOLLOWER + i - 1], ARGV[15 + 2 * i]
        local found = redis.call('HMGET', follower, 'status', 'entry')
        if found[1] == 'MERGED' and found[2] == ARGV[14 + 2 * i] then
            if record ~= '' then
                redis.call('HSET', follower, 'record', record)
                redis.call('HINCRBY', follower, 'version', 1)
            end
            if retention ~= '0' then
                redis.call('PEXPIRE', follower, retention)
            else
                redis.call('PERSIST', follower)
            end
        end
    end
end

-- Lets a lane go on that is parked because of this very entry, its head. One that somebody runs is not parked.
local function unpark()
    if owner ~= '' or not redis.call('ZSCORE', k.parked, lane) then
        return
    end
    local _, first = head(k, lane)
    if first == entry then
        redis.call('ZREM', k.parked, lane)
        make_ready(k, lane)
        ring(k)
    end
end

local function move_lane()
    if after == 'finish' then
        end_entry(k, lane, rank, entry)
    elseif after == 'park' then
        redis.call('ZADD', k.parked, 'NX', stamp, lane)
        disown(k, lane, worker)
    end
    if status ~= 'UNKNOWN' then
        unpark()
    end
end

local current = record_read(order, mark)
local written = record_version_of(current, token)
if written then
    return {'ok', written, now, after == 'finish' and same_again(k, lane, owner, worker) or {}}
end
if owner ~= '' and not holds(k, lane, owner, worker, now) then
    return {'fenced'}
end
if not record_may_change(current, ARGV[6], ARGV[7], entry) then
    return record_conflict(order)
end
local version = string.format('%d', (current[2] or 0) + 1)
write(current[1], version)
write_followers()
move_lane()
return {'ok', version + 0, now, after == 'finish' and go_on(k, lane, owner, worker) or {}}
