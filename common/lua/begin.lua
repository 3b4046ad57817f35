-- Begins a request for the entry in hand: takes its tokens, writes the order as sent, with its event, and lets the entry
-- sort first in its lane; all or nothing.
-- KEYS: 1 waiting  2 owners  3 workers  4 order  5 open:<account>  6 unknown  7 events
--       8… the penalty keys and the buckets of the request (the block of buckets.lua)
-- ARGV: 1 client order id  2 token of this write (unique)
--       3 lane  4 owner (worker#grant) and 5 worker id: the fence
--       6 version the record must have, or `new`: no record, or one QUEUED by this very entry
--       7 statuses it may leave, separated by blanks  8 status it reaches
--       9 entry (stream id)  10 its rank in the lane  11 digest of the intent, or `` to leave the one on record
--       12 record (JSON)  13 the event (JSON)
--       14… the tokens of the request (the block of buckets.lua; `0 0` where it needs none)
-- Returns: {'ok', version, now ms}, {'wait', ms} when the tokens aren't there, {'fenced'}, or {'conflict', field, value,
--       ...} with the record as it stands (no fields: there is none). But for `ok`, nothing was written or taken.
-- Safe to run twice: the second run finds its own token on the record, takes no tokens, writes nothing and answers the
--       same. One that was told to wait, or whose record somebody wrote in between, is as if it had never run.

-- include: fence.lua
-- include: queue.lua
-- include: record.lua
-- include: buckets.lua

local FIRST_BUCKET_KEY, FIRST_BUCKET_ARGUMENT = 8, 14

local k = { waiting = KEYS[1], owners = KEYS[2], workers = KEYS[3] }
local order, token, lane, status, entry = KEYS[4], ARGV[2], ARGV[3], ARGV[8], ARGV[9]
local now, stamp = now_ms()
local current = record_read(order, 'token')
local written = record_version_of(current, token)
if written then
    return {'ok', written, now}
end
if not holds(k, lane, ARGV[4], ARGV[5], now) then
    return {'fenced'}
end
if not record_may_change(current, ARGV[6], ARGV[7], entry) then
    return record_conflict(order)
end
local wait = buckets_acquire(FIRST_BUCKET_KEY, FIRST_BUCKET_ARGUMENT, now, stamp)
if wait > 0 then
    return {'wait', wait}
end
local version = string.format('%d', (current[2] or 0) + 1)
redis.call('HSET', order, 'status', status, 'version', version, 'token', token .. ' ' .. version,
    'record', ARGV[12], 'entry', entry)
if ARGV[11] ~= '' then
    redis.call('HSET', order, 'digest', ARGV[11])
end
redis.call('ZADD', KEYS[5], stamp, ARGV[1])
if current[1] then
    redis.pcall('ZREM', KEYS[6], ARGV[1])
end
redis.call('XADD', KEYS[7], '*', 'event', ARGV[13])
if ARGV[10] ~= '!' then
    redis.call('ZREM', k.waiting, member(lane, ARGV[10], entry))
end
redis.call('ZADD', k.waiting, 0, member(lane, '!', entry))
return {'ok', version + 0, now}
