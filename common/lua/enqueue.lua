-- How a stream entry finds its place: its lane, its rank in it, and what it must not pass.
-- KEYS: none of its own; uses the table `k` of lane.lua (with news), which the including script also includes.
-- ARGV: none.
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: an entry enqueued again takes the same place, which is no change.

local URGENT, NORMAL = 2, 5
local MAX_PAYLOAD_BYTES = 65536
local LOOK_BEHIND = 256

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

-- Whether a cancel-all and another intent may not change places: one for a strategy leaves alone what others place.
local function sweeps(all, other)
    if (all.strategy or '') == '' or other.kind == 'amend' or other.kind == 'cancel_all' then
        return true
    end
    return other.kind == 'place' and other.strategy == all.strategy
end

-- Whether `later` loses its meaning when it passes `earlier`, which still waits.
local function depends(later, earlier)
    if later.kind == 'cancel_all' then
        return sweeps(later, earlier)
    end
    if later.kind == 'cancel' or later.kind == 'amend' then
        return earlier.id == later.target or (earlier.target == later.target and earlier.kind == later.kind)
    end
    if earlier.kind == 'cancel_all' then
        return sweeps(earlier, later)
    end
    local replaced = text(later.replaces)
    if replaced and (earlier.kind == 'place' and (earlier.id == replaced or earlier.replaces == replaced)
        or earlier.kind == 'amend' and earlier.target == replaced) then
        return true
    end
    return later.reduce_only == true and earlier.kind == 'place' and earlier.reduce_only ~= true
        and (later.strategy or '') == (earlier.strategy or '')
end

-- What `depends` asks of the entries that wait, kept for this run of the script: a burst of cancels looks at the
-- same ones again and again.
local read_before = {}

local function waiting_intent(k, sorted)
    if read_before[sorted] == nil then
        local entry = entry_of(sorted)
        local found = redis.call('XRANGE', k.intents, entry, entry)[1]
        local intent = found and read_intent(found[2])
        read_before[sorted] = intent and {
            id = intent.id, kind = intent.kind, target = intent.target, reduce_only = intent.reduce_only,
            strategy = intent.strategy, replaces = text(intent.replaces),
        } or false
    end
    return read_before[sorted]
end

-- The rank under which an intent may wait: its urgency, lowered to that of what it would pass but needs first.
local function rank_of(k, lane, intent)
    local urgency = urgency_of(intent)
    if urgency >= 9 then
        return urgency
    end
    local from, to = '[' .. lane .. '\0' .. (urgency + 1), '(' .. lane .. '\0:'
    local passed = redis.call('ZREVRANGEBYLEX', k.waiting, to, from, 'LIMIT', 0, LOOK_BEHIND + 1)
    if #passed > LOOK_BEHIND then
        return tonumber(string.sub(passed[1], #lane + 2, #lane + 2))
    end
    for _, waiting in ipairs(passed) do
        local rest = string.sub(waiting, #lane + 2)
        local earlier = waiting_intent(k, string.sub(rest, 2))
        if earlier and depends(intent, earlier) then
            return tonumber(string.sub(rest, 1, 1))
        end
    end
    return urgency
end

-- Whether the rules of a lane may find something to do because of this intent, by themselves or by default.
local function may_spare(intent)
    return intent.kind == 'cancel' or intent.kind == 'amend' or intent.reduce_only == true or text(intent.replaces) ~= nil
end

-- Whether two entries or more of the lane wait that have not begun (`!` sorts before every other rank).
local function is_accompanied(k, lane)
    local from, to = '[' .. lane .. '\0' .. '0', '(' .. lane .. '\1'
    return #redis.call('ZRANGEBYLEX', k.waiting, from, to, 'LIMIT', 0, 2) == 2
end

-- Gives an entry its place; the lane it belongs to.
local function enqueue(k, entry, fields)
    local intent = read_intent(fields)
    local lane = intent and (intent.account .. '|' .. intent.symbol) or ('!' .. entry)
    local rank = intent and rank_of(k, lane, intent) or NORMAL
    redis.call('ZADD', k.waiting, 0, member(lane, rank, entry))
    if intent and may_spare(intent) and is_accompanied(k, lane) then
        redis.call('SADD', k.news, lane)
    end
    if redis.call('HEXISTS', k.owners, lane) == 0 then
        make_ready(k, lane)
    end
    return lane
end
