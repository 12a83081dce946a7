-- Puts claimed messages back to the end of their lists where they are taken next.
--
-- KEYS: unacked, unacked_index, the workers' leases
-- ARGV: worker, '1' if only while its lease is over, then for each message: tag, list, message with its flags,
--       key of its crashes or '', their text
-- Answer: how many were put back; -1 if the worker lives
if ARGV[2] == '1' then
  local time = redis.call('TIME')
  local lease = redis.call('ZSCORE', KEYS[3], ARGV[1])
  if lease and tonumber(lease) > tonumber(string.format('%d.%06d', time[1], time[2])) then
    return -1
  end
end
local count = 0
for at = 3, #ARGV, 5 do
  if redis.call('HDEL', KEYS[1], ARGV[at]) == 1 then
    redis.call('ZREM', KEYS[2], ARGV[at])
    redis.call('RPUSH', ARGV[at + 1], ARGV[at + 2])
    if ARGV[at + 3] ~= '' then
      redis.call('SET', ARGV[at + 3], ARGV[at + 4], 'EX', 604800)
    end
    count = count + 1
  end
end
return count
