-- What holds new placements back (`orderlane/standing.py`, `orderlane/disabled.py`), for the scripts that include this
-- file and tell their caller with each answer.
-- KEYS: none of its own
-- ARGV: none of its own
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: it only reads.

-- {field, value, ...}; nothing where there are none, or where a foreign value is under the key.
local function declared_in(key)
    local all = redis.pcall('HGETALL', key)
    return all.err and {} or all
end
