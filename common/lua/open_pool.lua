-- Decides whether a pool starts: no worker of the exchange has a living lease, or another Redis server answers than the
-- one for which an account was last brought to agreement with the exchange. Such accounts are closed for new placements
-- before the worker that asks can join.
-- KEYS: 1 workers  2 control  3 standings  4 events  5… for each account: reconcile:<account>, stream:<account>
-- ARGV: 1 the holder as which this process holds user streams
--       2… for each account, in the same order: its field in `standings`, the standing (JSON), the event (JSON)
-- Returns: for each account 1 when it was closed by this call, else 0.
-- Safe to run twice: an account that is closed for this server stays so, and nothing more is told. A worker asks before
--       each of its lives; one that lives has asked before, so none of a running pool can be met by this. Where nobody
--       lives, user streams are free at once: a holder that only stood still notes nothing unless it takes its own again.

local time = redis.call('TIME')
local now = time[1] .. string.sub('00000' .. time[2], -6, -4)
local is_running = redis.call('ZCOUNT', KEYS[1], now, '+inf') > 0
local server = redis.call('HGET', KEYS[2], 'run_id') or ''
local closed = {}
for i = 5, #KEYS, 2 do
    local account, stream, number = KEYS[i], KEYS[i + 1], (i - 5) / 2
    local first = 1 + 3 * number
    local known = redis.call('HGET', account, 'run_id')
    local stands = redis.call('HEXISTS', KEYS[3], ARGV[first + 1]) == 1
    closed[number + 1] = 0
    if known ~= server or not (is_running or stands) then
        redis.call('HSET', KEYS[3], ARGV[first + 1], ARGV[first + 2])
        redis.call('DEL', account)
        redis.call('HSET', account, 'run_id', server, 'state', 'waiting', 'since', now)
        redis.call('XADD', KEYS[4], '*', 'event', ARGV[first + 3])
        closed[number + 1] = 1
    elseif not is_running then
        redis.call('HDEL', account, 'holder', 'until', 'next_at') -- whoever was at it is gone
    end
    if not is_running and redis.call('HGET', stream, 'holder') ~= ARGV[1] then
        redis.call('HDEL', stream, 'holder', 'until', 'state')
    end
end
return closed
