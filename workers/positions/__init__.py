"""Positions and balances held against what the exchange says of them.

`books`       what it takes to compare one exchange's accounts
`watch`       when each account is compared: at the start, after a gap in its user stream, and every so often
`reconcile`   one comparison of one account, from the first reading to the correction
`at_start`    the comparison that a start-up waits for
`judging`     what two readings say of a figure; pure
`reading`     asking the exchange
`figures`     what Redis holds: reading it, correcting it, disabling strategies
`uncounted`   whether fills of the pool's own orders are still to be counted
"""
