-- Takes, keeps or gives up the work of bringing an account to agreement with the exchange, and notes how far it is.
-- KEYS: 1 reconcile:<account>
-- ARGV: 1 holder (unique to the process)  2 how long from now it holds, ms; 0: it gives the work up
--       3… fields and values to note, where the work is this holder's
-- Returns: {1 when it is this holder's now, else 0; ms left of another's hold, or 0; how often it has failed; when it may
--       be tried again, ms by Redis TIME, or 0; Redis TIME, ms}
-- Safe to run twice: the same holder takes what it holds, and notes the same.

local key, holder, lease = KEYS[1], ARGV[1], ARGV[2] + 0
local time = redis.call('TIME')
local now = (time[1] .. string.sub('00000' .. time[2], -6, -4)) + 0
local current = redis.call('HMGET', key, 'holder', 'until', 'failures', 'next_at')
local other, left = current[1] or '', (tonumber(current[2]) or 0) - now
local failures, next_at = tonumber(current[3]) or 0, tonumber(current[4]) or 0

if other ~= holder and other ~= '' and left > 0 then
    return {0, left, failures, next_at, now}
end
if lease == 0 and other ~= holder then
    return {0, 0, failures, next_at, now}
end
redis.call('HSET', key, 'holder', lease > 0 and holder or '', 'until', string.format('%d', now + lease))
if #ARGV > 2 then
    redis.call('HSET', key, unpack(ARGV, 3))
end
return {lease > 0 and 1 or 0, 0, failures, next_at, now}
