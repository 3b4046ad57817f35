-- One state change of one order, with its events and, if asked, the end of its stream entry: all or nothing.
-- KEYS: 1 intents  2 waiting  3 owners  4 ready  5 workers  6 load  7 hungry  8 grants  9 bell  10 parked
--       11 order  12 open:<account>  13 unknown  14 events
-- ARGV: 1 client order id  2 token of this write (unique)
--       3 lane  4 owner (worker#grant) and 5 worker id: the fence; both empty for a writer that owns no lane
--       6 version the record must have, or `new`: no record, or one QUEUED by this very entry
--       7 statuses it may leave, separated by blanks  8 status it reaches
--       9 entry (stream id)  10 its rank in the lane  11 digest of the intent  12 record (JSON)
--       13 retention, ms, of a record that has ended; 0: the order is still open
--       14 then: `keep` the lane, `begin` (the entry now sorts first), `finish` the entry, or `park` the lane
--       15… the events (JSON)
-- Returns: {'ok', version, now ms, next run or {}}, {'fenced'}, or {'conflict', field, value, ...} with the
--       record as it stands (no fields: there is none).
-- Safe to run twice: the second run finds its own token on the record, writes nothing more and answers the same; so
--       it does after a writer without a lane wrote in between, whose token has a field of its own.

-- include: lane.lua

local k = {
    intents = KEYS[1], waiting = KEYS[2], owners = KEYS[3], ready = KEYS[4], workers = KEYS[5], load = KEYS[6],
    hungry = KEYS[7], grants = KEYS[8], bell = KEYS[9], parked = KEYS[10],
}
local order, open, unknown, events = KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local id, token, lane, owner, worker = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local expected, allowed, status, entry, rank = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local retention, after = tonumber(ARGV[13]), ARGV[14]
local now = now_ms()
-- The last write of a lane's owner keeps its mark when somebody without a lane writes after it.
local mark = owner ~= '' and 'token' or 'outside_token'

local function conflict()
    local answer = redis.call('HGETALL', order)
    table.insert(answer, 1, 'conflict')
    return answer
end

local function may_write(current)
    if not current[1] then
        return expected == 'new' or expected == '0'
    end
    if not string.find(' ' .. allowed .. ' ', ' ' .. current[1] .. ' ', 1, true) then
        return false
    end
    if expected == 'new' then
        return current[1] == 'QUEUED' and current[3] == entry
    end
    return current[2] == expected
end

local function write(version)
    local stamp = string.format('%.0f', now)
    redis.call('HSET', order, 'status', status, 'version', version, 'entry', entry, 'digest', ARGV[11],
        mark, token .. ' ' .. version, 'record', ARGV[12])
    if retention > 0 then
        redis.call('PEXPIRE', order, ARGV[13])
        redis.call('ZREM', open, id)
    else
        redis.call('PERSIST', order)
        redis.call('ZADD', open, stamp, id)
    end
    if status == 'UNKNOWN' then
        redis.call('ZADD', unknown, 'NX', stamp, id)
    else
        redis.call('ZREM', unknown, id)
    end
    for i = 15, #ARGV do
        redis.call('XADD', events, '*', 'event', ARGV[i])
    end
end

-- Whether the lane is parked because of this very entry, its head.
local function is_parked_for(this)
    if not redis.call('ZSCORE', k.parked, lane) then
        return false
    end
    local _, first = head(k, lane)
    return first == this
end

local function move_lane()
    if after == 'begin' then
        redis.call('ZREM', k.waiting, member(lane, rank, entry))
        redis.call('ZADD', k.waiting, 0, member(lane, '!', entry))
    elseif after == 'park' then
        redis.call('ZADD', k.parked, 'NX', string.format('%.0f', now), lane)
        disown(k, lane, worker)
    elseif after == 'finish' then
        end_entry(k, lane, rank, entry)
    end
    if status ~= 'UNKNOWN' and is_parked_for(entry) then
        redis.call('ZREM', k.parked, lane)
        make_ready(k, lane)
        ring(k)
    end
end

local current = redis.call('HMGET', order, 'status', 'version', 'entry', mark)
local known, written = string.match(current[4] or '', '^(.*) (%d+)$')
if known == token then
    return {'ok', tonumber(written), now, after == 'finish' and same_again(k, lane, owner, worker) or {}}
end
if owner ~= '' and not holds(k, lane, owner, worker, now) then
    return {'fenced'}
end
if not may_write(current) then
    return conflict()
end
local version = tonumber(current[2] or 0) + 1
write(version)
move_lane()
return {'ok', version, now, after == 'finish' and go_on(k, lane, owner, worker) or {}}
