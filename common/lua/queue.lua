-- How an entry stands in its lane's queue, the sorted set `waiting`.
-- KEYS: none of its own; the including script passes key names in a table `k` (waiting).
-- ARGV: none.
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: it reads, and writes nothing.

-- A stream id whose text order is its number order: the length of each number goes in front of it.
local function sortable(entry)
    local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
    return string.char(64 + #ms) .. ms .. string.char(64 + #seq) .. seq
end

local function entry_of(sorted)
    local ms, seq = string.match(sorted, '^%u(%d+)%u(%d+)$')
    return ms .. '-' .. seq
end

local function member(lane, rank, entry)
    return lane .. '\0' .. rank .. sortable(entry)
end

-- The lane's first waiting entry: its rank and its stream id, or nil. Reads only.
local function head(k, lane)
    local first = redis.call('ZRANGEBYLEX', k.waiting, '[' .. lane .. '\0', '(' .. lane .. '\1', 'LIMIT', 0, 1)[1]
    if not first then
        return nil
    end
    local rest = string.sub(first, #lane + 2)
    return string.sub(rest, 1, 1), entry_of(string.sub(rest, 2))
end
