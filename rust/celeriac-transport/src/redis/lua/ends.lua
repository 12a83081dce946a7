-- Carries out ends of tasks: each one's commands, then its claim is dropped; none of them if the claim is not ours any more.
--
-- KEYS: unacked, unacked_index, what this worker did last; in a cluster one more that never exists
-- ARGV: number of this call, '1' if it was sent before or '', number of ends, tag of each ('' for commands that belong to no claim), then for each end:
--       number of commands, for each: number of its words, words
-- Answer, which is also kept under KEYS[3]: number of this call, ends that were carried out, numbers of those that
--         were lost (from 1, with commas), the error that stopped it or ''; one a line
--
-- The same call once more (its answer was lost on the way) gets the same answer and does nothing. A command of ours:
--   celeriac.result key value ms                  stores a success for that long ('' for ever) and publishes it
--   celeriac.state key value ms                   the same for another state, unless a success is stored
--   celeriac.park set milliseconds step tail      keeps the claimed message until then
--   celeriac.bury set sequence prefix tail names and values ...   keeps it as a dead letter
-- An error stops at the end that has it: those before are done, it and those after are not. What that end did before
-- its error stays done, as everywhere in Redis.
local unacked, index, done = KEYS[1], KEYS[2], KEYS[3]
if ARGV[2] ~= '' then
  local before = redis.call('GET', done)
  if before and tonumber(string.match(before, '^%d+')) >= tonumber(ARGV[1]) then
    return before
  end
end
local count = tonumber(ARGV[3])
local scores = redis.call('ZMSCORE', index, unpack(ARGV, 4, 3 + count))
local at = 4 + count
local gone, lost, carried, problem = {}, {}, 0, ''

local function entry(tag, tail)
  return string.sub(redis.call('HGET', unacked, tag) or '', 2, -tonumber(tail) - 1)
end

-- In a cluster a plain message goes to every node, one of a slot stays with the slot.
local publish = KEYS[4] and 'SPUBLISH' or 'PUBLISH'

-- The value comes here once and not once a command: copies of it are what a result costs.
local function store(key, value, ms)
  local stored
  if ms == '' then
    stored = redis.pcall('SET', key, value)
  else
    stored = redis.pcall('SET', key, value, 'PX', ms)
  end
  if stored.err then
    return stored
  end
  return redis.pcall(publish, key, value)
end

local ours = {
  ['celeriac.result'] = function(_, from)
    return store(ARGV[from + 1], ARGV[from + 2], ARGV[from + 3])
  end,
  ['celeriac.state'] = function(_, from)
    if is_success(ARGV[from + 1]) then
      return false
    end
    return store(ARGV[from + 1], ARGV[from + 2], ARGV[from + 3])
  end,
  ['celeriac.park'] = function(tag, from)
    local member = string.gsub(tag, ':', '.') .. ':' .. ARGV[from + 3] .. ' ' .. entry(tag, ARGV[from + 4])
    return redis.pcall('ZADD', ARGV[from + 1], ARGV[from + 2], member)
  end,
  ['celeriac.bury'] = function(tag, from, to)
    local id = redis.call('INCR', ARGV[from + 2])
    redis.call('ZADD', ARGV[from + 1], id, id)
    return redis.call('HSET', ARGV[from + 3] .. id, 'payload', entry(tag, ARGV[from + 4]), unpack(ARGV, from + 5, to))
  end,
}

for i = 1, count do
  local tag = ARGV[3 + i]
  local free = tag == ''
  local held = free or scores[i]
  local commands = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, commands do
    local words = tonumber(ARGV[at])
    if held then
      local own = ours[ARGV[at + 1]]
      local reply
      if own then
        reply = own(tag, at + 1, at + words)
      else
        reply = redis.pcall(unpack(ARGV, at + 1, at + words))
      end
      if type(reply) == 'table' and reply.err then
        problem = reply.err
        break
      end
    end
    at = at + words + 1
  end
  if problem ~= '' then
    break
  end
  carried = i
  if not held then
    lost[#lost + 1] = i
  elseif not free then
    gone[#gone + 1] = tag
  end
end
if #gone > 0 then
  redis.call('ZREM', index, unpack(gone))
  redis.call('HDEL', unacked, unpack(gone))
end
local answer = ARGV[1] .. '\n' .. carried .. '\n' .. table.concat(lost, ',') .. '\n' .. string.gsub(problem, '\n', ' ')
-- Refused where there is no memory, but then what was done is done.
redis.pcall('SET', done, answer, 'EX', 86400)
return answer
