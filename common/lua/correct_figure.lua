-- Writes one figure (a position or a balance) as the exchange says it is, with its event, and, where it was wrong beyond the
-- thresholds, disables strategies: all of it or nothing.
-- KEYS: 1 positions:<account> or balances:<account>  2 disabled  3 events
-- ARGV: 1 field  2 version it must have (0: it is not there)  3 its new value  4 event (JSON) of the correction, or ``
--       then for each strategy to disable: its field, the reason (JSON), the event (JSON)
-- Returns: {'ok', strategies that were not disabled before}, or {'conflict'}: the figure has another version.
-- Safe to run twice: the figure's version has moved on, so the second run is a conflict and writes nothing.

-- include: figures.lua

local figures, disabled, events = KEYS[1], KEYS[2], KEYS[3]
if figure_version(figures, ARGV[1]) ~= ARGV[2] then
    return {'conflict'}
end
redis.call('HSET', figures, ARGV[1], ARGV[3])
if ARGV[4] ~= '' then
    redis.call('XADD', events, '*', 'event', ARGV[4])
end
local new = 0
for i = 5, #ARGV, 3 do
    if redis.call('HSETNX', disabled, ARGV[i], ARGV[i + 1]) == 1 then
        redis.call('XADD', events, '*', 'event', ARGV[i + 2])
        new = new + 1
    end
end
return {'ok', new}
