-- An order's hash: who wrote it last, and who may write it next.
-- KEYS: none of its own.
-- ARGV: none.
-- Returns: nothing; it only defines local functions.
-- Safe to run twice: it reads, and writes nothing.

-- What `order` says, as {status, version, entry, mark, edited}, each false where there is none. The last write of a lane's
-- owner keeps its mark when somebody without a lane writes after it: each has a field of its own.
local function record_read(order, mark)
    return redis.call('HMGET', order, 'status', 'version', 'entry', mark, 'edited')
end

-- The version that the write of this token made, or nil when its mark is another's.
local function record_version_of(current, token)
    local marked = current[4]
    if marked and string.sub(marked, 1, #token + 1) == token .. ' ' then
        return string.sub(marked, #token + 2) + 0
    end
    return nil
end

-- Whether a writer may go on from here: `expected` is a version, or `new`; `allowed` are statuses between blanks. A record
-- that was edited while its entry waited must be known to whoever writes it: `new` is not enough.
local function record_may_change(current, expected, allowed, entry)
    local status = current[1]
    if not status then
        return expected == 'new' or expected == '0'
    end
    if not string.find(' ' .. allowed .. ' ', ' ' .. status .. ' ', 1, true) then
        return false
    end
    if expected == 'new' then
        return status == 'QUEUED' and current[3] == entry and not current[5]
    end
    return current[2] == expected
end

local function record_conflict(order)
    local answer = redis.call('HGETALL', order)
    table.insert(answer, 1, 'conflict')
    return answer
end
