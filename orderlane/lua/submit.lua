-- Admits one intent: a new id joins the stream and gets its record; a known id is answered with its order.
-- KEYS: 1 intents  2 order:<client order id>
-- ARGV: 1 backlog limit  2 intent (JSON)  3 digest of the intent  4 record (JSON)
--       5 receipt: drawn once for each call of the client, the same in each repetition of it
-- Returns: {'added', entry (stream id)}, {'exists', {field, value, ...}} with the record as it stands, or
--       {'backlogged', entries in the stream} with nothing written.
-- Safe to run twice: the second run finds the record of the first, adds nothing, and the record's receipt says
--       that it was this same call that added it.

local record = redis.call('HGETALL', KEYS[2])
if #record > 0 then
    return {'exists', record}
end
local backlog = redis.call('XLEN', KEYS[1])
if backlog >= tonumber(ARGV[1]) then
    return {'backlogged', backlog}
end
local entry = redis.call('XADD', KEYS[1], '*', 'intent', ARGV[2])
redis.call('HSET', KEYS[2], 'status', 'QUEUED', 'version', '1', 'entry', entry, 'digest', ARGV[3],
    'record', ARGV[4], 'receipt', ARGV[5])
return {'added', entry}
