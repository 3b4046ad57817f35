-- Shows the entries of a lane in the order in which they would be run, and takes note that they have been looked at.
-- KEYS: 1 intents  2 waiting  3 unseen
-- ARGV: 1 lane  2 how many at most
-- Returns: {{rank, entry (stream id), {field, value, ...}}, ...}; no fields: someone deleted the entry.
-- Where more wait than are shown, the lane is to be looked at again once its head has come to the middle of these: any two
-- that stand no further apart than that are seen together, and each entry is looked at twice.
-- Safe to run twice: it reads. What it changes of `unseen` only says when looking again is worth it; should its answer be
--       lost, a request that could have been spared is made.

-- include: queue.lua

local lane, most = ARGV[1], tonumber(ARGV[2])
local found = redis.call('ZRANGEBYLEX', KEYS[2], '[' .. lane .. '\0', '(' .. lane .. '\1', 'LIMIT', 0, most + 1)
if #found > most then
    redis.call('HSET', KEYS[3], lane, string.sub(found[math.floor(most / 2) + 1], #lane + 2))
    found[most + 1] = nil
else
    redis.call('HDEL', KEYS[3], lane)
end
for i, waiting in ipairs(found) do
    local rest = string.sub(waiting, #lane + 2)
    local entry = entry_of(string.sub(rest, 2))
    local read = redis.call('XRANGE', KEYS[1], entry, entry)[1]
    found[i] = {string.sub(rest, 1, 1), entry, read and read[2] or {}}
end
return found
