-- Reads an order's record and its counted fills, as they stand together.
-- KEYS: 1 order  2 fills:<client order id>
-- ARGV: none.
-- Returns: {{status, version, entry, record} or {} where there is no record, {trade id, fill, …}}
-- Safe to run twice: it only reads.

local fields = redis.call('HMGET', KEYS[1], 'status', 'version', 'entry', 'record')
return {fields[1] and fields or {}, redis.call('HGETALL', KEYS[2])}
