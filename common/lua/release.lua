-- Gives lanes back without finishing anything: all of a worker's (shutdown), or those of one grant whose answer
-- was lost. No death is counted.
-- KEYS: 1 intents  2 waiting  3 owners  4 ready  5 workers  6 load  7 hungry  8 grants  9 bell  10 parked
--       11 drained
-- ARGV: 1 worker id  2 grant to release and to refuse from now on, or `all` to leave the pool
--       3 until when the call of that grant may still let its worker join, ms by Redis TIME; else 0
-- Returns: the number of lanes given back.
-- Safe to run twice: it frees only lanes that this worker (and grant) still owns.

-- include: lane.lua

local k = {
    intents = KEYS[1], waiting = KEYS[2], owners = KEYS[3], ready = KEYS[4], workers = KEYS[5], load = KEYS[6],
    hungry = KEYS[7], grants = KEYS[8], bell = KEYS[9], parked = KEYS[10], drained = KEYS[11],
}
local worker, grant, join_until = ARGV[1], ARGV[2], tonumber(ARGV[3])

local owners, freed = redis.call('HGETALL', k.owners), 0
for i = 1, #owners, 2 do
    local lane, id, number = owners[i], parse_owner(owners[i + 1])
    if id == worker and (grant == 'all' or number == grant) then
        disown(k, lane, worker)
        make_ready(k, lane)
        freed = freed + 1
    end
end
if grant == 'all' then
    redis.call('ZREM', k.workers, worker)
    redis.call('ZREM', k.hungry, worker)
    redis.call('HDEL', k.load, worker)
    redis.call('HDEL', k.grants, worker)
else
    if join_until >= now_ms() then
        -- That call may still arrive. Only a member's grant is remembered, so the worker joins for so long.
        redis.call('ZADD', k.workers, 'NX', ARGV[3], worker)
    end
    if redis.call('ZSCORE', k.workers, worker) then
        local known = tonumber(redis.call('HGET', k.grants, worker) or 0)
        redis.call('HSET', k.grants, worker, string.format('%.0f', math.max(known, tonumber(grant))))
    end
end
if freed > 0 then
    ring(k)
end
return freed
