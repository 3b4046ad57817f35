-- Declares why new placements of an exchange or account wait, or how far they still do, with the event that tells of it.
-- KEYS: 1 standings  2 events
-- ARGV: 1 field: scope|cause  2 the standing (JSON)  3 the event (JSON)
--       4 `1`: only where 5 is what stands there now (``: nothing), `0`: whatever does  5 what was seen (JSON)
-- Returns: 1 when it was written, 0 when the same stands there already, or something else than what was seen.
-- Safe to run twice: the second run finds the same, or what somebody made of it since, and with `1` changes neither. The
--       event is appended only where state (a probe leaves it closed), step, failed probes or the reason's code are
--       other than before.

local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if before == ARGV[2] or (ARGV[4] == '1' and before ~= ARGV[5]) then
    return 0
end

-- What a listener is told of; the figures of a reason alone (a progress, say) are no news.
local function told(standing)
    local read, one = pcall(cjson.decode, standing)
    if not read or type(one) ~= 'table' or type(one.reason) ~= 'table' then
        return ''
    end
    local state = one.state == 'probing' and 'closed' or one.state
    return table.concat({ tostring(state), tostring(one.step), tostring(one.probes), tostring(one.reason.code) }, ' ')
end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if told(before) ~= told(ARGV[2]) then
    redis.call('XADD', KEYS[2], '*', 'event', ARGV[3])
end
return 1
