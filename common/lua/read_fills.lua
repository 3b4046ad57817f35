-- Reads an order's record and its counted fills, with the figures that further fills change, as they stand together.
-- KEYS: 1 order  2 fills:<client order id>  3 positions:<account>  4 balances:<account>
-- ARGV: 1 symbol whose position is read, or ``: neither it nor balances are  2… assets whose balances are
-- Returns: {{status, version, entry, record} or {} where there is no record, {trade id, fill, …}, {position, balance, …},
--       each of these `` where there is none}
-- Safe to run twice: it only reads.

local fields = redis.call('HMGET', KEYS[1], 'status', 'version', 'entry', 'record')
local figures = {}
if ARGV[1] ~= '' then
    figures[1] = redis.call('HGET', KEYS[3], ARGV[1]) or ''
    for i = 2, #ARGV do
        figures[i] = redis.call('HGET', KEYS[4], ARGV[i]) or ''
    end
end
return {fields[1] and fields or {}, redis.call('HGETALL', KEYS[2]), figures}
