-- Empties a worker's in-flight lists and forgets the worker if it holds nothing more.
--
-- KEYS: the workers' leases, the worker's batches, its started tasks, what it did last
-- ARGV: worker, '1' if only while its lease is over, number of in-flight lists, for each: list, where its messages
--       belong; then fields of the batches that are done with
-- Answer: messages that lay in the in-flight lists; -1 if the worker lives
--
-- One that is given up as dead may only be cut off, and ask what became of its last call when it is back: the answer to that
-- stays until it expires.
if ARGV[2] == '1' then
  local time = redis.call('TIME')
  local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if lease and tonumber(lease) > tonumber(string.format('%d.%06d', time[1], time[2])) then
    return -1
  end
end
-- A server without memory refuses LMOVE as the first write of a script; this one removes nothing.
redis.call('ZREM', KEYS[1], '')
local at, count = 4, 0
for _ = 1, tonumber(ARGV[3]) do
  while redis.call('LMOVE', ARGV[at], ARGV[at + 1], 'LEFT', 'RIGHT') do
    count = count + 1
  end
  at = at + 2
end
for from = at, #ARGV, 1000 do
  redis.call('HDEL', KEYS[2], unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
if redis.call('HLEN', KEYS[2]) == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[2], KEYS[3])
  if ARGV[2] ~= '1' then
    redis.call('DEL', KEYS[4])
  end
end
return count
