-- Puts dead letters back at the end of their queues.
--
-- KEYS: numbers of the dead letters, names of the queues that there are
-- ARGV: beginning of a dead letter's key, ids
-- Answer: how many there were
local count = 0
for at = 2, #ARGV do
  local key = ARGV[1] .. ARGV[at]
  local letter = redis.call('HMGET', key, 'list', 'payload', 'queue')
  if letter[1] then
    redis.call('LPUSH', letter[1], letter[2])
    redis.call('SADD', KEYS[2], letter[3])
    redis.call('DEL', key)
    count = count + 1
  end
  redis.call('ZREM', KEYS[1], ARGV[at])
end
return count
