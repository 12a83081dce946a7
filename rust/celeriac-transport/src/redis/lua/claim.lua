-- Takes messages, and records each before anybody sees it.
--
-- KEYS: unacked, unacked_index, the worker's batches, the workers' leases
-- ARGV: worker, number of the first message, most messages, most bytes, most of one list at once, lease in seconds or
--       '' where it was renewed lately,
--       a list that nothing is taken without: the first to pop from; or '',
--       most messages that are parked here instead of taken,
--       number of queues with parked messages, for each: parked set, list of step 0, separator;
--       number of groups, for each: number of lists, for each: list to pop from, list that its messages belong to,
--       end of a claim's text (the rest of a JSON array: exchange and routing key)
-- Answer: [1 if a limit was met, ms until the first parked message is due or '', how many were parked, then for each list
--         that gave something: [list that its messages belong to, message, ...]]
--
-- A message is `<worker>:<number>` in unacked and unacked_index; numbers rise by one through the whole answer. Nobody
-- else ever writes such a name, so while it is there the claim is ours. Groups come one after the other, the lists of a
-- group share. A batch is `number of its first message -> how many it was, and their list`.
-- For one message that somebody waits for, the calls are what a claim costs: none is made that is not needed then.
-- A server without memory refuses what may need some, but only as the first write of a script: so what removes comes
-- before what adds, and messages can be taken there, which makes room.
local first
if ARGV[7] ~= '' then
  first = redis.call('RPOP', ARGV[7], math.min(tonumber(ARGV[3]), tonumber(ARGV[5])))
  if not first then
    return { 0, '', 0 }
  end
end
local unacked, index, batches, workers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local worker, number, left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local room, most, lease = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local score = string.format('%d.%06d', time[1], time[2])
local now = tonumber(score)
local texts, scores, counts, answer = {}, {}, {}, { 0, '', 0 }
local mark = worker .. ':'
local sift, sifted = tonumber(ARGV[8]), 0

local at = 10
local parked = {}
for _ = 1, tonumber(ARGV[9]) do
  local set, list, separator = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  at = at + 3
  parked[#parked + 1] = { set, list, list .. separator }
  local due = redis.call('ZRANGE', set, '-inf', string.format('%d', now * 1000), 'BYSCORE', 'LIMIT', 0, 100)
  if #due > 0 then
    redis.call('ZREMRANGEBYRANK', set, 0, #due - 1)
  end
  for _, member in ipairs(due) do
    local colon = string.find(member, ':', 1, true)
    local space = string.find(member, ' ', colon, true)
    local step = string.sub(member, colon + 1, space - 1)
    redis.call('LPUSH', step == '0' and list or list .. separator .. step, string.sub(member, space + 1))
  end
end

-- Parks those of `found` that are for later, and gives the others.
local function sieve(found, home)
  local set, step
  for _, queue in ipairs(parked) do
    if home == queue[2] then
      set, step = queue[1], '0'
      break
    elseif string.sub(home, 1, #queue[3]) == queue[3] then
      set, step = queue[1], string.sub(home, #queue[3] + 1)
    end
  end
  if not set then
    return found
  end
  local ready, later = {}, {}
  local soon = now * 1000 + 1000 -- what is due within a second is held by the worker
  for _, entry in ipairs(found) do
    local due = due_ms(entry)
    if due and due > soon then
      sifted = sifted + 1
      room = room - #entry
      later[#later + 1] = string.format('%d', due)
      later[#later + 1] = worker .. '.' .. ARGV[2] .. '.' .. sifted .. ':' .. step .. ' ' .. entry
    else
      ready[#ready + 1] = entry
    end
  end
  if #later > 0 then
    redis.call('ZADD', set, unpack(later))
  end
  return ready
end

local function take(source, home, tail, want)
  local found = first or redis.call('RPOP', source, want)
  first = nil
  if not found then
    return 0
  end
  local popped = #found
  if sift > 0 then
    found = sieve(found, home)
  end
  local count = #found
  if count == 0 then
    return popped
  end
  counts[#counts + 1] = number
  counts[#counts + 1] = count .. ' ' .. home
  local part = { home }
  for i = 1, count do
    local entry = found[i]
    local tag = mark .. string.format('%d', number)
    number = number + 1
    texts[#texts + 1] = tag
    texts[#texts + 1] = '[' .. entry .. tail
    scores[#scores + 1] = score
    scores[#scores + 1] = tag
    part[i + 1] = entry
    room = room - #entry
  end
  answer[#answer + 1] = part
  left = left - count
  return popped
end

local groups = tonumber(ARGV[at])
at = at + 1
for _ = 1, groups do
  local open = {}
  for i = 1, tonumber(ARGV[at]) do
    open[i] = at + 3 * i - 2
  end
  at = at + 3 * #open + 1
  while left > 0 and room > 0 and #open > 0 and (sift == 0 or sifted < sift) do
    local share = math.min(math.ceil(left / #open), most)
    local full = {}
    for _, list in ipairs(open) do
      local want = math.min(share, left)
      if want == 0 or room <= 0 then
        full[#full + 1] = list
      elseif take(ARGV[list], ARGV[list + 1], ARGV[list + 2], want) == want then
        full[#full + 1] = list
      end
    end
    open = full
  end
end

if #texts > 0 then
  if lease then
    -- For whoever was silent for longer than its lease and is back.
    redis.call('ZADD', workers, 'NX', string.format('%.6f', now + lease), worker)
  end
  redis.call('HSET', unacked, unpack(texts))
  redis.call('ZADD', index, unpack(scores))
  redis.call('HSET', batches, unpack(counts))
end
answer[3] = sifted
if room <= 0 or (sift > 0 and sifted >= sift) then
  answer[1] = 1
elseif left > 0 then
  local next
  for _, queue in ipairs(parked) do
    local due = tonumber(redis.call('ZRANGE', queue[1], 0, 0, 'WITHSCORES')[2])
    if due and (not next or due < next) then
      next = due
    end
  end
  if next then
    answer[2] = string.format('%d', math.max(0, math.ceil(next - now * 1000)))
  end
end
return answer
