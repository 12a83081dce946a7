-- Moves the scores of claims forward, so that no sweep of another program takes them.
--
-- KEYS: unacked_index
-- ARGV: tags
-- Answer: numbers (from 1) of the tags that are there no more
local time = redis.call('TIME')
local score = string.format('%d.%06d', time[1], time[2])
local scores = redis.call('ZMSCORE', KEYS[1], unpack(ARGV))
local pairs, lost = {}, {}
for i, tag in ipairs(ARGV) do
  if scores[i] then
    pairs[#pairs + 1] = score
    pairs[#pairs + 1] = tag
  else
    lost[#lost + 1] = i
  end
end
if #pairs > 0 then
  -- A server without memory refuses ZADD as the first write of a script; this one adds nothing.
  redis.call('ZREM', KEYS[1], '')
  redis.call('ZADD', KEYS[1], 'XX', unpack(pairs))
end
return lost
