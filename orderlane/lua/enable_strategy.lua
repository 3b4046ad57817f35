-- Lets a strategy open orders again, with the event that tells of it.
-- KEYS: 1 disabled  2 events
-- ARGV: 1 field (account|symbol|strategy)  2 the value that whoever asks has seen there  3 event (JSON)
-- Returns: 1 when it was disabled and is not any more, 0 when the value is not there (any more): nothing was written.
-- Safe to run twice: the second run finds the field gone, or disabled anew for another reason, which stays.

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('XADD', KEYS[2], '*', 'event', ARGV[3])
return 1
