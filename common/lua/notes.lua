-- Notes of what waits in long lanes, found by what it is about: so that whatever arrives there need not read the whole
-- lane to learn what it must not pass. A lane with notes has them of each of its entries that has not begun.
-- KEYS: none of its own; the including script passes key names in a table `k` (notes, waiting).
-- ARGV: none.
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: a note made again is the same note, and one that is gone is not missed. Whatever is under the key,
--       nothing fails: without its notes a lane counts as if all that waits in it were needed.

-- include: queue.lua

-- A fact about an entry, such as the strategy that it opens for: no fact is the beginning of another one.
local function fact(letter, value)
    return letter .. #value .. ':' .. value
end

local function note_of(lane, known, place)
    return lane .. '\0' .. known .. '\0' .. place
end

-- Where the notes of one entry are listed, so that its end can take them off: by its stream id, before all lanes.
local function list_of(sorted)
    return '\1' .. sorted .. '\0'
end

local function has_notes(k, lane)
    local first = redis.pcall('ZRANGEBYLEX', k.notes, '[' .. lane .. '\0', '(' .. lane .. '\1', 'LIMIT', 0, 1)
    return first.err ~= nil or #first > 0
end

-- Notes an entry that waits at `place` (its rank and its sortable stream id) by its facts.
local function take_note(k, lane, place, facts)
    local notes = {0, list_of(string.sub(place, 2)) .. cjson.encode({place, unpack(facts)})}
    for _, known in ipairs(facts) do
        notes[#notes + 1] = 0
        notes[#notes + 1] = note_of(lane, known, place)
    end
    redis.pcall('ZADD', k.notes, unpack(notes))
end

-- Takes the notes of an entry off, if there are any; `sorted` is its sortable stream id.
local function drop_notes(k, lane, sorted)
    local list = list_of(sorted)
    local found = redis.pcall('ZRANGEBYLEX', k.notes, '[' .. list, '(' .. list .. '\255', 'LIMIT', 0, 1)
    if found.err or not found[1] then
        return
    end
    local noted = cjson.decode(string.sub(found[1], #list + 1))
    local gone = {found[1]}
    for i = 2, #noted do
        gone[i] = note_of(lane, noted[i], noted[1])
    end
    redis.call('ZREM', k.notes, unpack(gone))
end

-- The place of the last entry of a lane that the notes know for this fact, that waits less urgently than `urgency`, and
-- of which `counts(place)` is true; nil where there is none. One that has begun since is passed over.
local function last_noted(k, lane, known, urgency, counts)
    local from = note_of(lane, known, '')
    local skipped = 0
    while true do
        local found = redis.pcall('ZREVRANGEBYLEX', k.notes, '(' .. from .. ':', '[' .. from .. (urgency + 1),
            'LIMIT', skipped, 1)
        if found.err then
            return '9' -- nobody knows: behind all that waits
        end
        if not found[1] then
            return nil
        end
        local place = string.sub(found[1], #from + 1)
        if redis.call('ZSCORE', k.waiting, lane .. '\0' .. place) and counts(place) then
            return place
        end
        skipped = skipped + 1
    end
end
