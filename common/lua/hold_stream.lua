-- Takes, keeps or gives up the hold on an account's user stream, and notes how far it has come.
-- KEYS: 1 stream:<account>
-- ARGV: 1 holder (unique to the process)  2 how long from now it holds, ms; 0: it gives the stream up
--       3 retention, ms, of what is noted when nobody holds it any more
--       4 state (`connecting`, `backfilling`, `live`)  5 since when it is in that state, ms of Redis TIME; 0: just now
--       6 when the exchange's last message came, ms, or 0  7 until when, ms by the exchange's clock, everything is known
--       to be in the journal, or 0
-- Returns: {1 when it is held by this holder now, else 0; the holder, or ``; ms left of its hold; until when everything
--       was known to be in the journal before this call, or 0; Redis TIME, ms}
-- Safe to run twice: what is noted only moves forward, and the same holder takes what it holds.

local key, holder, lease = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local current = redis.call('HMGET', key, 'holder', 'until', 'complete_until', 'last_message')
local other, left = current[1] or '', (tonumber(current[2]) or 0) - now
local complete = tonumber(current[3]) or 0

if other ~= holder and other ~= '' and left > 0 then
    return {0, other, left, complete, now}
end
if lease == 0 and other ~= holder then
    return {0, '', 0, complete, now}
end
local since = ARGV[5] == '0' and string.format('%d', now) or ARGV[5]
redis.call('HSET', key, 'holder', lease > 0 and holder or '', 'until', string.format('%d', now + lease),
    'state', ARGV[4], 'since', since, 'complete_until', string.format('%d', math.max(complete, tonumber(ARGV[7]))),
    'last_message', string.format('%d', math.max(tonumber(current[4]) or 0, tonumber(ARGV[6]))))
redis.call('PEXPIRE', key, ARGV[3])
return {lease > 0 and 1 or 0, lease > 0 and holder or '', lease, complete, now}
