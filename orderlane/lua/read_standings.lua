-- What stands, by the clock of the server that keeps it.
-- KEYS: 1 standings
-- ARGV: none
-- Returns: {Redis TIME, ms; {field, standing, ...}}; none where a foreign value is under the key
-- Safe to run twice: it only reads.

local time = redis.call('TIME')
local all = redis.pcall('HGETALL', KEYS[1])
return { tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), all.err and {} or all }
