-- Shows what waits in the lanes of one account, page by page.
-- KEYS: 1 intents  2 waiting
-- ARGV: 1 account  2 cursor: `` at first, then what the call before returned  3 how many at most
-- Returns: {cursor of the next page, or `` after the last; {lane, rank, entry (stream id), {field, value, ...}}, ...}; no
--       fields: someone deleted the entry.
-- Safe to run twice: it reads, and writes nothing.

-- include: queue.lua

local limit = tonumber(ARGV[3])
local from = ARGV[2] == '' and '[' .. ARGV[1] .. '|' or '(' .. ARGV[2]
local found = redis.call('ZRANGEBYLEX', KEYS[2], from, '(' .. ARGV[1] .. '}', 'LIMIT', 0, limit) -- `}` comes after `|`
local page = {#found == limit and found[limit] or ''}
for i, waiting in ipairs(found) do
    local split = string.find(waiting, '\0', 1, true)
    local entry = entry_of(string.sub(waiting, split + 2))
    local read = redis.call('XRANGE', KEYS[1], entry, entry)[1]
    page[i + 1] = {string.sub(waiting, 1, split - 1), string.sub(waiting, split + 1, split + 1), entry, read and read[2] or {}}
end
return page
