-- Takes client order ids out of an index (`open:<account>`, `unknown`) where their order's record is gone.
-- KEYS: 1 the index  2… the records, order:<client order id>
-- ARGV: 1… the client order ids, in the order of their records
-- Returns: how many were taken out.
-- Safe to run twice: the second run finds them gone. A record that exists by now keeps its place.

local forgotten = 0
for i, id in ipairs(ARGV) do
    if redis.call('EXISTS', KEYS[i + 1]) == 0 then
        forgotten = forgotten + redis.call('ZREM', KEYS[1], id)
    end
end
return forgotten
