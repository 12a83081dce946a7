-- Renews a worker's lease and names workers whose lease is over.
--
-- KEYS: the workers' leases
-- ARGV: worker, length of its lease in seconds or '' to leave it
-- Answer: [1 if it had a lease, the server's time in ms, workers whose lease is over ...]
local time = redis.call('TIME')
local now = tonumber(string.format('%d.%06d', time[1], time[2]))
local known = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
if ARGV[2] ~= '' then
  -- A server without memory refuses ZADD as the first write of a script, and this needs none to speak of.
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('ZADD', KEYS[1], string.format('%.6f', now + tonumber(ARGV[2])), ARGV[1])
end
local answer = redis.call('ZRANGE', KEYS[1], '-inf', string.format('%.6f', now), 'BYSCORE', 'LIMIT', 0, 8)
table.insert(answer, 1, string.format('%d', now * 1000))
table.insert(answer, 1, known)
return answer
