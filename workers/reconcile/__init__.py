"""Start-up: journal and exchange are brought to agreement, account by account, before a pool places anything.

`starting`   a worker's part in it, put together
`opening`    whether a pool starts, decided in Redis; if so its accounts are closed before a worker joins
`service`    what one worker does about accounts that are closed for it: who is at which, again after failures
`lease`      who brings an account to agreement, and how far it is, in Redis
`account`    the work itself, for one account
"""
