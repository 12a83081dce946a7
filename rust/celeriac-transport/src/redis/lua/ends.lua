-- Carries out ends of tasks: each one's commands, then its claim is dropped; none of them if the claim is not ours any more.
--
-- KEYS: unacked, unacked_index, what this worker did last; in a cluster one more that never exists
-- ARGV: number of this call, '1' if it was sent before or '', the first end to carry out (from 1), number of ends, tag of
--       each ('' for commands that belong to no claim), then for each end: number of commands, for each: number of its
--       words, words
-- Answer, which is also kept under KEYS[3]: number of this call, the last end that was carried out, numbers of those that
--         were lost (from 1, with commas), the error that stopped it or '', the key of the command that had it; one a
--         line, the key to the end
--
-- The same call once more (its answer was lost on the way) gets the same answer and does nothing. A command of ours:
--   celeriac.result key value ms                  stores a success for that long ('' for ever) and publishes it
--   celeriac.state key value ms                   the same for another state, unless a success is stored
--   celeriac.park set milliseconds step tail      keeps the claimed message until then
--   celeriac.bury set sequence prefix tail names and values ...   keeps it as a dead letter
--   celeriac.letter set sequence prefix names and values ...      keeps a message as a dead letter that was never stored
-- An error, of whatever command, stops at the end that has it: those before are done, it and those after are not. What
-- that end did before its error stays done, as everywhere in Redis. If the error is its alone, the call comes again with a
-- new number for those after it.
local unacked, index, done = KEYS[1], KEYS[2], KEYS[3]
if ARGV[2] ~= '' then
  local before = redis.call('GET', done)
  if before and tonumber(string.match(before, '^%d+')) >= tonumber(ARGV[1]) then
    return before
  end
end
local first, count = tonumber(ARGV[3]), tonumber(ARGV[4])
-- A score is a number of 17 digits to be written out; of a single end nobody needs it.
local scores = count == 1 and { ARGV[5] ~= '' and redis.call('ZRANK', index, ARGV[5]) }
  or redis.call('ZMSCORE', index, unpack(ARGV, 5, 4 + count))
local at = 5 + count
local gone, lost, carried, problem, key = {}, {}, first - 1, '', ''

local function entry(tag, tail)
  return string.sub(redis.call('HGET', unacked, tag) or '', 2, -tonumber(tail) - 1)
end

-- In a cluster a plain message goes to every node, one of a slot stays with the slot.
local publish = KEYS[4] and 'SPUBLISH' or 'PUBLISH'

-- The value comes here once and not once a command: copies of it are what a result costs.
local function store(key, value, ms)
  if ms == '' then
    redis.call('SET', key, value)
  else
    redis.call('SET', key, value, 'PX', ms)
  end
  redis.call(publish, key, value)
end

local function keep(from, ...)
  local id = redis.call('INCR', ARGV[from + 2])
  redis.call('ZADD', ARGV[from + 1], id, id)
  redis.call('HSET', ARGV[from + 3] .. id, ...)
end

local ours = {
  ['celeriac.result'] = function(_, from)
    store(ARGV[from + 1], ARGV[from + 2], ARGV[from + 3])
  end,
  ['celeriac.state'] = function(_, from)
    if not is_success(ARGV[from + 1]) then
      store(ARGV[from + 1], ARGV[from + 2], ARGV[from + 3])
    end
  end,
  ['celeriac.park'] = function(tag, from)
    local member = string.gsub(tag, ':', '.') .. ':' .. ARGV[from + 3] .. ' ' .. entry(tag, ARGV[from + 4])
    redis.call('ZADD', ARGV[from + 1], ARGV[from + 2], member)
  end,
  ['celeriac.bury'] = function(tag, from, to)
    keep(from, 'payload', entry(tag, ARGV[from + 4]), unpack(ARGV, from + 5, to))
  end,
  ['celeriac.letter'] = function(_, from, to)
    keep(from, unpack(ARGV, from + 4, to))
  end,
}

for i = 1, count do
  local tag = ARGV[4 + i]
  local free = tag == ''
  local held = i >= first and (free or scores[i])
  local commands = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, commands do
    local words = tonumber(ARGV[at])
    if held then
      local own = ours[ARGV[at + 1]]
      local well, reply
      if own then
        well, reply = pcall(own, tag, at + 1, at + words)
      else
        well, reply = pcall(redis.call, unpack(ARGV, at + 1, at + words))
      end
      if not well then
        problem, key = type(reply) == 'table' and reply.err or tostring(reply), ARGV[at + 2]
        break
      end
    end
    at = at + words + 1
  end
  if problem ~= '' then
    break
  end
  if i >= first then
    carried = i
    if not held then
      lost[#lost + 1] = i
    elseif not free then
      gone[#gone + 1] = tag
    end
  end
end
if #gone > 0 then
  redis.call('ZREM', index, unpack(gone))
  redis.call('HDEL', unacked, unpack(gone))
end
problem = string.gsub(problem, '\n', ' ')
local answer = table.concat({ ARGV[1], carried, table.concat(lost, ','), problem, key }, '\n')
-- Refused where there is no memory, but then what was done is done.
redis.pcall('SET', done, answer, 'EX', 86400)
return answer
