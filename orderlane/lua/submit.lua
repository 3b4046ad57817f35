-- Admits one intent: a new id joins the stream and gets its record; a known id is answered with its order.
-- KEYS: 1 intents  2 order:<client order id>  3 control  4 waiting  5 unread
-- ARGV: 1 the client's own backlog limit, 0: none  2 intent (JSON)  3 digest of the intent  4 record (JSON)
--       5 receipt: drawn once for each call of the client, the same in each repetition of it  6 account
--       7 1 when the intent passes every limit (a cancel, a reduce-only), else 0
--       8 the pool's limit where no worker has published one
-- Returns: {'added', entry (stream id)}, {'exists', {field, value, ...}} with the record as it stands, or, with nothing
--       written, {'backlogged', whose limit it is: `client`, `exchange` or `account`; unfinished intents there; limit}.
-- Safe to run twice: the second run finds the record of the first, adds nothing, and the record's receipt says
--       that it was this same call that added it.

local account = ARGV[6]

-- The account's entries in lanes (members of `waiting` begin `account|`, and `}` follows `|`), and those in no lane yet.
local function backlog_of_account()
    local unread = redis.pcall('HGET', KEYS[5], account)
    return redis.call('ZLEXCOUNT', KEYS[4], '[' .. account .. '|', '(' .. account .. '}')
        + (type(unread) == 'string' and tonumber(unread) or 0)
end

-- The answer when a limit is reached; nil when the intent is admitted.
local function refusal()
    local backlog, own = redis.call('XLEN', KEYS[1]), tonumber(ARGV[1])
    if own > 0 and backlog >= own then
        return {'backlogged', 'client', backlog, own}
    end
    local published = redis.call('HMGET', KEYS[3], 'backlog_limit', 'account_backlog_limit')
    local limit = tonumber(published[1] or ARGV[8])
    if backlog >= limit then
        return {'backlogged', 'exchange', backlog, limit}
    end
    local account_limit = tonumber(published[2] or limit)
    if backlog < account_limit then
        return nil -- all of them together are fewer
    end
    local of_account = backlog_of_account()
    if of_account >= account_limit then
        return {'backlogged', 'account', of_account, account_limit}
    end
    return nil
end

local record = redis.call('HGETALL', KEYS[2])
if #record > 0 then
    return {'exists', record}
end
local refused = ARGV[7] ~= '1' and refusal()
if refused then
    return refused
end
local entry = redis.call('XADD', KEYS[1], '*', 'intent', ARGV[2])
redis.call('HSET', KEYS[2], 'status', 'QUEUED', 'version', '1', 'entry', entry, 'digest', ARGV[3],
    'record', ARGV[4], 'receipt', ARGV[5])
redis.pcall('HINCRBY', KEYS[5], account, 1) -- a count for admission alone: a foreign value there stops nothing
return {'added', entry}
