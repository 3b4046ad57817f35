-- Notes an order that the pool did not place; the first time, and when more is done about it than before, with its event,
-- its record and the cancel that was asked for: all or nothing.
-- KEYS: 1 external:<account>  2 external_ended:<account>  3 events  4 the order's record  5 open:<account>  6 intents
-- ARGV: 1 the order's name  2 action (`report`, `adopt`, `cancel`)  3 the order as it was seen (JSON)  4 the event (JSON)
--       5 client order id of the record  6 the record (JSON), or `` when it gets none  7 its status  8 digest of its intent
--       9 retention, ms, of a record that has ended; 0: the order is open
--       10 the cancel to append (JSON), or ``
-- Returns: 1 when it was told, 0 when it was known.
-- Safe to run twice: the second run finds the order noted with the same action; it writes what it looks like, and tells
--       nothing. A record that exists is left as it is.

local RANK = { report = 1, adopt = 2, cancel = 3 }
local external, ended, order = KEYS[1], KEYS[2], KEYS[4]
local name, action = ARGV[1], ARGV[2]

local known = redis.call('HGET', external, name)
local before = known and RANK[string.match(known, '"action":"(%a+)"') or 'report'] or 0
if before >= RANK[action] then
    if before == RANK[action] and known ~= ARGV[3] then
        redis.call('HSET', external, name, ARGV[3])
    end
    return 0
end
redis.call('HSET', external, name, ARGV[3])
redis.call('ZREM', ended, name)
if ARGV[6] ~= '' then
    local exists = redis.call('EXISTS', order) == 1
    if exists and action == 'adopt' then
        return 0 -- it is tracked, and only the note of it was lost
    end
    if not exists then
        redis.call('HSET', order, 'status', ARGV[7], 'version', '1', 'entry', '0-0', 'digest', ARGV[8],
            'record', ARGV[6])
        if ARGV[9] ~= '0' then
            redis.call('PEXPIRE', order, ARGV[9])
        else
            local time = redis.call('TIME')
            redis.call('ZADD', KEYS[5], time[1] .. string.sub('00000' .. time[2], -6, -4), ARGV[5])
        end
    end
    if ARGV[10] ~= '' then
        redis.call('XADD', KEYS[6], '*', 'intent', ARGV[10])
    end
end
redis.call('XADD', KEYS[3], '*', 'event', ARGV[4])
return 1
