-- How a stream entry finds its place: its lane, its rank in it, and what it must not pass.
-- KEYS: none of its own; uses the table `k` of lane.lua (with unseen), which the including script also includes.
-- ARGV: none.
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: an entry enqueued again takes the same place, which is no change.

local URGENT, NORMAL = 2, 5
local MAX_PAYLOAD_BYTES = 65536
local LONG = 128 -- entries that wait in a lane: up to here they are read one by one, beyond it there are notes of them
local LONGEST_NAME = 256 -- bytes of an id or a label: what is longer is no intent
local CLOSING_LEG = 'close' -- what `leg` says of an order that closes where reduce-only does not exist, as on spot

-- A field's text; nil where it is missing, null, or something else.
local function text(value)
    return type(value) == 'string' and value or nil
end

-- The intent in an entry, as a table, or nil where its JSON or its lane can't be read.
local function read_intent(fields)
    if #fields ~= 2 or fields[1] ~= 'intent' or #fields[2] > MAX_PAYLOAD_BYTES then
        return nil
    end
    local ok, intent = pcall(cjson.decode, fields[2])
    if not ok or type(intent) ~= 'table' then
        return nil
    end
    local account, symbol = intent.account, intent.symbol
    if type(account) ~= 'string' or type(symbol) ~= 'string' or #account > 64 or #symbol > 64
        or not string.match(account, '^[%w._-]+$')
        or not string.match(symbol, '^[%w._/:-]+$') and not (symbol == '*' and intent.kind == 'cancel_all') then
        return nil
    end
    return intent
end

local function urgency_of(intent)
    local given = intent.priority
    if type(given) == 'number' and given >= 0 and given <= 9 and given == math.floor(given) then
        return math.abs(given) -- JSON knows -0, and its text is no rank
    end
    if intent.kind == 'cancel' or intent.kind == 'cancel_all' or intent.reduce_only == true then
        return URGENT
    end
    return NORMAL
end

-- Whether an order takes risk off: it is to find what its strategy has opened before.
local function closes(intent)
    return intent.reduce_only == true or intent.leg == CLOSING_LEG
end

-- Adds facts to a list: letters for what each says, and of whom.
local function say(facts, letters, value)
    if not value or #value > LONGEST_NAME then
        return
    end
    for i = 1, #letters do
        facts[#facts + 1] = fact(string.sub(letters, i, i), value)
    end
end

-- What others may depend on in an intent: its id (i); of a place the strategy it opens (o) or closes (x) for, and what it
-- replaces (r); of a cancel (c) and an amend (a) the target; that it is an amend (A) or a cancel-all (S) at all; of a
-- cancel-all the strategy (s).
local function facts_of(intent)
    local facts, strategy = {}, text(intent.strategy) or ''
    say(facts, 'i', text(intent.id))
    if intent.kind == 'place' then
        say(facts, closes(intent) and 'x' or 'o', strategy)
        say(facts, 'r', text(intent.replaces))
    elseif intent.kind == 'cancel' then
        say(facts, 'c', text(intent.target))
    elseif intent.kind == 'amend' then
        say(facts, 'a', text(intent.target))
        say(facts, 'A', '')
    elseif intent.kind == 'cancel_all' then
        say(facts, 's', strategy)
        say(facts, 'S', '')
    end
    return facts
end

-- The facts of what an intent must not pass: it would lose its meaning. Nil: it must pass nothing.
local function needs_of(intent)
    local needs, strategy = {}, text(intent.strategy) or ''
    if intent.kind == 'cancel_all' then
        if strategy == '' then
            return nil
        end
        say(needs, 'AS', '')
        say(needs, 'ox', strategy)
    elseif intent.kind == 'cancel' then
        say(needs, 'irc', text(intent.target))
    elseif intent.kind == 'amend' then
        say(needs, 'ira', text(intent.target))
        say(needs, 'S', '')
    else
        say(needs, 'irca', text(intent.replaces))
        say(needs, 's', '') -- a cancel-all for all strategies
        say(needs, closes(intent) and 'so' or 's', strategy)
    end
    return needs
end

-- What is asked of the entries that wait, kept for this run of the script: a burst looks at the same ones again and
-- again. The facts of the one at `place` (its rank and its sortable stream id); nil where it is no intent (any more).
local read_before = {}

local function facts_at(k, place)
    local sorted = string.sub(place, 2)
    if read_before[sorted] == nil then
        local entry = entry_of(sorted)
        local found = redis.call('XRANGE', k.intents, entry, entry)[1]
        local intent = found and read_intent(found[2])
        read_before[sorted] = intent and facts_of(intent) or false
    end
    return read_before[sorted] or nil
end

-- How many entries of the lane wait that have not begun (`!` sorts before every other rank), kept for this run.
local lengths = {}

local function length_of(k, lane)
    lengths[lane] = lengths[lane]
        or redis.call('ZLEXCOUNT', k.waiting, '[' .. lane .. '\0' .. '0', '(' .. lane .. '\1')
    return lengths[lane]
end

-- The last place of the lane that is less urgent than `urgency` and of which `counts(place)` is true, or nil; read one by
-- one, `page` at a time.
local function last_place(k, lane, urgency, page, counts)
    local from, to, skipped = '[' .. lane .. '\0' .. (urgency + 1), '(' .. lane .. '\0:', 0
    while true do
        local passed = redis.call('ZREVRANGEBYLEX', k.waiting, to, from, 'LIMIT', skipped, page)
        for _, waiting in ipairs(passed) do
            local place = string.sub(waiting, #lane + 2)
            if counts(place) then
                return place
            end
        end
        if #passed < page then
            return nil
        end
        skipped = skipped + page
    end
end

local notes_exist -- whether any lane has notes; nil as long as this run has not asked

local function note_all(k, lane)
    for _, waiting in ipairs(redis.call('ZRANGEBYLEX', k.waiting, '[' .. lane .. '\0' .. '0', '(' .. lane .. '\1')) do
        local place = string.sub(waiting, #lane + 2)
        take_note(k, lane, place, facts_at(k, place) or {})
    end
    notes_exist = true
end

-- The place of the last entry that an intent must not pass, of those that are less urgent than it; nil: it may pass all.
local function last_needed(k, lane, intent, urgency)
    if #redis.call('ZREVRANGEBYLEX', k.waiting, '(' .. lane .. '\0:', '[' .. lane .. '\0' .. (urgency + 1), 'LIMIT', 0, 1) == 0 then
        return nil
    end
    local needs = needs_of(intent)
    local function is_intent(place)
        return facts_at(k, place) ~= nil
    end
    if not needs then
        return last_place(k, lane, urgency, 1, is_intent)
    end
    if length_of(k, lane) <= LONG then
        local is_needed = {}
        for _, needed in ipairs(needs) do
            is_needed[needed] = true
        end
        return last_place(k, lane, urgency, LONG, function(place)
            for _, known in ipairs(facts_at(k, place) or {}) do
                if is_needed[known] then
                    return true
                end
            end
            return false
        end)
    end
    if not has_notes(k, lane) then
        note_all(k, lane)
    end
    local last
    for _, needed in ipairs(needs) do
        local place = last_noted(k, lane, needed, urgency, is_intent)
        if place and (not last or string.byte(place) > string.byte(last)) then
            last = place
        end
    end
    return last
end

-- The rank under which an intent may wait: its urgency, lowered to that of what it would pass but needs first.
local function rank_of(k, lane, intent)
    local urgency = urgency_of(intent)
    if urgency >= 9 or length_of(k, lane) == 0 then
        return urgency
    end
    local place = last_needed(k, lane, intent, urgency)
    return place and tonumber(string.sub(place, 1, 1)) or urgency
end

-- Notes a new entry where the lane has notes; where it has become long, all that wait in it.
local function note(k, lane, place, intent)
    if notes_exist == nil then
        notes_exist = redis.call('EXISTS', k.notes) == 1
    end
    if notes_exist and has_notes(k, lane) then
        take_note(k, lane, place, facts_of(intent))
    elseif length_of(k, lane) > LONG then
        note_all(k, lane)
    end
end

-- Whether the rules of a lane may find something to do because of this intent, by themselves or by default.
local function may_spare(intent)
    return intent.kind == 'cancel' or intent.kind == 'amend' or intent.reduce_only == true or text(intent.replaces) ~= nil
end

-- Gives an entry its place; the lane it belongs to.
local function enqueue(k, entry, fields)
    local intent = read_intent(fields)
    local lane = intent and (intent.account .. '|' .. intent.symbol) or ('!' .. entry)
    local rank, waited = NORMAL, 0
    if intent then
        rank, waited = rank_of(k, lane, intent), length_of(k, lane)
    end
    local place = rank .. sortable(entry)
    local added = redis.call('ZADD', k.waiting, 0, lane .. '\0' .. place)
    if intent then
        lengths[lane] = waited + added
        note(k, lane, place, intent)
        if may_spare(intent) and lengths[lane] >= 2 then
            redis.call('HSET', k.unseen, lane, '')
        end
    end
    if redis.call('HEXISTS', k.owners, lane) == 0 and not (waited > 0 and is_ready(k, lane, rank)) then
        make_ready(k, lane)
    end
    return lane
end
