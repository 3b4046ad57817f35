-- Shows the entries of a lane in the order in which they would be run, and takes note that they have been looked at.
-- KEYS: 1 intents  2 waiting  3 news
-- ARGV: 1 lane  2 how many at most
-- Returns: {{rank, entry (stream id), {field, value, ...}}, ...}; no fields: someone deleted the entry.
-- Safe to run twice: it reads. What it takes off `news` only says that looking again is worth it; should its answer be
--       lost, a request that could have been spared is made.

-- include: queue.lua

local k = { waiting = KEYS[2] }
redis.call('SREM', KEYS[3], ARGV[1])
local found = redis.call('ZRANGEBYLEX', k.waiting, '[' .. ARGV[1] .. '\0', '(' .. ARGV[1] .. '\1', 'LIMIT', 0, ARGV[2])
for i, waiting in ipairs(found) do
    local rest = string.sub(waiting, #ARGV[1] + 2)
    local entry = entry_of(string.sub(rest, 2))
    local read = redis.call('XRANGE', KEYS[1], entry, entry)[1]
    found[i] = {string.sub(rest, 1, 1), entry, read and read[2] or {}}
end
return found
