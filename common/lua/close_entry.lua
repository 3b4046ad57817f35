-- Ends a stream entry without touching any order's record: what is no intent, repeats another, or was already
-- recorded by someone else.
-- KEYS: 1 intents  2 waiting  3 owners  4 ready  5 workers  6 load  7 hungry  8 grants  9 bell  10 parked
--       11 drained  12 events  13 dead  14 unseen  15 notes
-- ARGV: 1 lane  2 owner (worker#grant)  3 worker id  4 entry (stream id)  5 its rank in the lane
--       6 reason (JSON), or `` when the entry is not to be kept in `dead`  7… the events (JSON)
-- Returns: {'ok', next run or {}} or {'fenced'}.
-- Safe to run twice: an entry that is gone from its queue is neither buried nor reported again.

-- include: lane.lua

local k = {
    intents = KEYS[1], waiting = KEYS[2], owners = KEYS[3], ready = KEYS[4], workers = KEYS[5], load = KEYS[6],
    hungry = KEYS[7], grants = KEYS[8], bell = KEYS[9], parked = KEYS[10], drained = KEYS[11],
    unseen = KEYS[14], notes = KEYS[15],
}
local lane, owner, worker, entry, rank = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now = now_ms()

local function is_waiting()
    return redis.call('ZSCORE', k.waiting, member(lane, rank, entry))
        or redis.call('ZSCORE', k.waiting, member(lane, '!', entry))
end

-- The payload an operator can send again: the one field as it is, or all of them as a JSON list.
local function payload_of(fields)
    if #fields == 2 and fields[1] == 'intent' then
        return fields[2]
    end
    local ok, text = pcall(cjson.encode, fields)
    return ok and text or ''
end

if is_waiting() then
    if not holds(k, lane, owner, worker, now) then
        return {'fenced'}
    end
    if ARGV[6] ~= '' then
        local found = redis.call('XRANGE', k.intents, entry, entry)[1]
        redis.call('XADD', KEYS[13], '*', 'entry', entry, 'reason', ARGV[6],
            'payload', payload_of(found and found[2] or {}), 'at', string.format('%.0f', now))
    end
    for i = 7, #ARGV do
        redis.call('XADD', KEYS[12], '*', 'event', ARGV[i])
    end
    end_entry(k, lane, rank, entry)
    return {'ok', go_on(k, lane, owner, worker)}
end
return {'ok', same_again(k, lane, owner, worker)}
