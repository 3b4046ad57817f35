-- Opens an account that was brought to agreement with the exchange: what closed it is lifted, with one event.
-- KEYS: 1 standings  2 events  3 reconcile:<account>
-- ARGV: 1 holder of the work  2 field of the standing `reconciling`  3 what stood there when the work began (JSON, or ``)
--       4 field of `unreconciled`  5 the same of it  6 event (JSON)  7… fields and values to note
-- Returns: 1 when the account was opened; 0 when the work is another's by now, or the account was closed anew meanwhile.
-- Safe to run twice: the second run finds the work given up, and nothing to lift.

if redis.call('HGET', KEYS[3], 'holder') ~= ARGV[1]
    or (redis.call('HGET', KEYS[1], ARGV[2]) or '') ~= ARGV[3]
    or (redis.call('HGET', KEYS[1], ARGV[4]) or '') ~= ARGV[5] then
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[2], ARGV[4])
redis.call('XADD', KEYS[2], '*', 'event', ARGV[6])
redis.call('HDEL', KEYS[3], 'holder', 'until', 'failures', 'next_at', 'reason')
redis.call('HSET', KEYS[3], unpack(ARGV, 7))
return 1
