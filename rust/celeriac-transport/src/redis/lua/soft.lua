-- Stores a state that is no success, unless a success is stored, and publishes it.
--
-- KEYS: key of the result; in a cluster one more that never exists
-- ARGV: value, [PX, milliseconds]
-- Answer: 1, or 0 if a success is stored
if is_success(KEYS[1]) then
  return 0
end
redis.call('SET', KEYS[1], unpack(ARGV))
redis.call(KEYS[2] and 'SPUBLISH' or 'PUBLISH', KEYS[1], ARGV[1])
return 1
