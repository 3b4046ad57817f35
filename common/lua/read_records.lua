-- Reads the records of many orders in one call: a tenth of what as many commands cost the process that asks.
-- KEYS: 1… the orders' records, of one exchange
-- ARGV: none.
-- Returns: for each key {status, version, entry, record}, or {} where there is none.
-- Safe to run twice: it only reads.

local found = {}
for i, key in ipairs(KEYS) do
    local fields = redis.call('HMGET', key, 'status', 'version', 'entry', 'record')
    found[i] = fields[1] and fields or {}
end
return found
