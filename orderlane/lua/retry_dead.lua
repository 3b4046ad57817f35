-- Puts a dead letter back into the stream as a new entry, in one step with its end among the dead.
-- KEYS: 1 dead  2 intents  3 order:<client order id> (when the payload is an intent)
-- ARGV: 1 id of the dead letter  2 version its order's record must have, or `` when there must be none
--       3 digest  4 record (JSON) of the fresh order; these are used only where a record exists
-- Returns: {'retried', entry (stream id)}, {'gone'} when no such dead letter is left, or {'conflict'} when the
--       record is not the one that was looked at; in both of these nothing is written.
-- Safe to run twice: the second run finds the dead letter gone.

local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then
    return {'gone'}
end
local payload = ''
for i = 1, #found[2], 2 do
    if found[2][i] == 'payload' then
        payload = found[2][i + 1]
    end
end
local order = KEYS[3]
local version = order and redis.call('HGET', order, 'version') or ''
if version ~= ARGV[2] then
    return {'conflict'}
end
local entry = redis.call('XADD', KEYS[2], '*', 'intent', payload)
if version ~= '' then
    -- The worker that begins an entry expects the record to name that very entry.
    redis.call('HSET', order, 'status', 'QUEUED', 'version', tonumber(version) + 1, 'entry', entry,
        'digest', ARGV[3], 'record', ARGV[4])
    redis.call('PERSIST', order)
end
redis.call('XDEL', KEYS[1], ARGV[1])
return {'retried', entry}
