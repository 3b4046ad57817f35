-- Of lanes whose first request waits for tokens: in which something has arrived that should be looked at before it.
-- KEYS: 1 waiting  2 unseen
-- ARGV: lane, entry in hand (stream id), 1 when news is of interest (else 0), for each lane
-- Returns: the lanes whose head is another entry by now, or in which something new has arrived. What a look at the lane
--       has left unseen is far behind its head: it overtakes nothing.
-- Safe to run twice: it reads, and writes nothing.

-- include: queue.lua

local k = { waiting = KEYS[1] }
local found = {}
for i = 1, #ARGV, 3 do
    local _, first = head(k, ARGV[i])
    if first ~= ARGV[i + 1] or ARGV[i + 2] == '1' and redis.call('HGET', KEYS[2], ARGV[i]) == '' then
        found[#found + 1] = ARGV[i]
    end
end
return found
