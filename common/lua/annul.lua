-- Ends entries of a lane that wait there and have not begun, at the word of a cancel-all that runs in another lane.
-- KEYS: 1 intents  2 waiting  3 owners  4 ready  5 workers  6 load  7 hungry  8 grants  9 bell  10 parked
--       11 drained  12 unseen  13 notes  14 events  15… the order of each entry, in the order of ARGV
--       then, entry after entry, the records of the intents that were merged into it
-- ARGV: 1 lane of the cancel-all  2 its owner (worker#grant)  3 worker id  4 the lane of the entries
--       5 retention, ms, of the records, which end  6 number of entries, then for each of them
--       1 entry (stream id)  2 its rank  3 version its record must have, or `` for none  4 digest of its intent
--       5 status it reaches  6 record (JSON)  7 the event (JSON)  8 how many intents were merged into it: their
--       records last as long as its own
-- Returns: {'ok', how many have ended by this call}, or {'fenced'}. One that has begun, has ended, or whose record is not
--       the one that is meant is left alone: each stands for itself. Whoever has one of them in hand can't begin it any
--       more, by its record.
-- Safe to run twice: what has ended waits no more, and is left alone.

-- include: lane.lua
-- include: record.lua

local FIRST_ORDER, FIRST_ENTRY, FIELDS = 15, 7, 8

local k = {
    intents = KEYS[1], waiting = KEYS[2], owners = KEYS[3], ready = KEYS[4], workers = KEYS[5], load = KEYS[6],
    hungry = KEYS[7], grants = KEYS[8], bell = KEYS[9], parked = KEYS[10], drained = KEYS[11],
    unseen = KEYS[12], notes = KEYS[13],
}
local lane = ARGV[4]

local function may_end(order, entry, rank, version)
    if not redis.call('ZSCORE', k.waiting, member(lane, rank, entry)) then
        return false
    end
    local current = record_read(order, 'token')
    return (current[2] or '') == version and (version == '' or current[1] == 'QUEUED' and current[3] == entry)
end

if not holds(k, ARGV[1], ARGV[2], ARGV[3], now_ms()) then
    return {'fenced'}
end
local count, ended = tonumber(ARGV[6]), 0
local merged = FIRST_ORDER + count
for i = 1, count do
    local order, at = KEYS[FIRST_ORDER + i - 1], FIRST_ENTRY + (i - 1) * FIELDS
    local entry, rank, version = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    if may_end(order, entry, rank, version) then
        redis.call('XADD', KEYS[14], '*', 'event', ARGV[at + 6])
        redis.call('HSET', order, 'status', ARGV[at + 4], 'version', (tonumber(version) or 0) + 1, 'record', ARGV[at + 5],
            'entry', entry, 'digest', ARGV[at + 3])
        redis.call('PEXPIRE', order, ARGV[5])
        for part = merged, merged + ARGV[at + 7] - 1 do
            if redis.call('HGET', KEYS[part], 'status') == 'MERGED' then
                redis.call('PEXPIRE', KEYS[part], ARGV[5])
            end
        end
        end_entry(k, lane, rank, entry)
        ended = ended + 1
    end
    merged = merged + ARGV[at + 7]
end
if ended > 0 and not head(k, lane) then
    redis.call('ZREM', k.ready, lane) -- nothing is left to give; whoever runs it finds that out
end
return {'ok', ended}
