-- The clock of the server that holds an exchange's keys; in a cluster each node has a clock of its own.
-- KEYS: 1 any key of the exchange
-- ARGV: none
-- Returns: {seconds, microseconds}
-- Safe to run twice: it reads.

return redis.call('TIME')
