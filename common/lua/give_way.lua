-- Puts the entry in hand, which has not begun, back into its lane and hands out the lane's head instead: something more
-- urgent may have arrived. One that has begun is its lane's head itself.
-- KEYS: 1 intents  2 waiting  3 owners  4 ready  5 workers  6 load  7 hungry  8 grants  9 bell  10 parked
--       11 drained  12 unseen  13 notes
-- ARGV: 1 lane  2 owner (worker#grant)  3 worker id
-- Returns: {'ok', run or {} (the lane was freed)} or {'fenced'}.
-- Safe to run twice: the second run hands out the head again; it finds a lane that the first one freed not its own any
--       more, while the lease lives, and says so again.

-- include: lane.lua

local k = {
    intents = KEYS[1], waiting = KEYS[2], owners = KEYS[3], ready = KEYS[4], workers = KEYS[5], load = KEYS[6],
    hungry = KEYS[7], grants = KEYS[8], bell = KEYS[9], parked = KEYS[10], drained = KEYS[11],
    unseen = KEYS[12], notes = KEYS[13],
}
local lane, owner, worker = ARGV[1], ARGV[2], ARGV[3]
if not is_alive(k, worker, now_ms()) then
    return {'fenced'}
end
if not in_hand(k, lane, owner) then
    return {'ok', {}}
end
local rank, entry = head(k, lane)
if not rank then
    disown(k, lane, worker)
    return {'ok', {}}
end
return {'ok', hand_out(k, lane, owner, rank, entry)}
