-- Stands before each script that must not write over a success.
--
-- Whether the state stored under `key` is SUCCESS, told by its bytes, whatever the serializer.
local function is_success(key)
  local head = redis.call('GETRANGE', key, 0, 63)
  local first = string.byte(head, 1)
  if first == 99 or first == 100 then -- YAML sorts its keys, 'children' or 'date_done' comes first
    return string.find(redis.call('GET', key), '\nstatus: SUCCESS\n', 1, true) ~= nil
  end
  -- JSON, msgpack and pickle begin with the status.
  local _, name = string.find(head, 'status', 1, true)
  local value = name and string.find(head, 'SUCCESS', name, true)
  return value ~= nil and value - name <= 10 and not string.find(string.sub(head, value - 1, value - 1), '[%a_]')
end
