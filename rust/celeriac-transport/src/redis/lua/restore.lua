-- Puts back a message that a worker of another program claimed and did not settle within visibility_timeout.
--
-- KEYS: unacked, unacked_index
-- ARGV: tag, score that it had, then for each list that it goes to: list, message with its flags
-- Answer: 1, or 0 if its claim was renewed, settled or restored meanwhile
if redis.call('ZSCORE', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then
  return 0
end
for at = 3, #ARGV, 2 do
  redis.call('RPUSH', ARGV[at], ARGV[at + 1])
end
return 1
