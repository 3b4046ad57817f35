-- Positions and balances: a field of a hash, `version value`.
-- KEYS: none of its own.
-- ARGV: none.
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: it reads, and writes nothing.

-- The version of a figure, as text; '0' where there is none, or what is none of ours.
local function figure_version(key, field)
    return string.match(redis.call('HGET', key, field) or '', '^(%d+) ') or '0'
end
