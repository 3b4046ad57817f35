"""User-data streams: what the exchange tells of its own accord about orders and fills, brought into the journal.

`service`   for each account one worker of the exchange holds the stream
`lease`     who holds it, in Redis
`session`   one connection, from its opening to its end
`backfill`  what a gap in the stream may have hidden, asked for over REST
`applying`  one order's news into its record, and its fills into events
`fills`     the sums over fills; pure
"""
