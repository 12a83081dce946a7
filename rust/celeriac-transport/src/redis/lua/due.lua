-- Part of claim.lua: when a message is due, read from its text as Celery writes it.
--
-- `due_ms(entry)` is its eta in ms since the epoch; nil if it has none, or if anything before the eta is not as Celery puts
-- it: other names or another order, escapes, a date without UTC's offset, an expiry. The worker, which reads all of it,
-- decides then.
-- Every byte up to the eta is accounted for, so no text of a sender's (an argument, a name) is ever taken for the header.
-- `cjson` would cost 13 µs and more; this is 1.4. Messages that follow each other have much in common: what was read once
-- is compared.
local head, minutes = nil, {}
local BODY, ID = '{"body": "', '", "shadow": null, "eta": "'
local HEAD = '^", "content%-encoding": "[^"\\]*", "content%-type": "[^"\\]*", '
  .. '"headers": {"lang": "[^"\\]*", "task": "[^"\\]*", "id": "'

local function minute_ms(text)
  local year, month, day, hour, minute = string.match(text, '^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):$')
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute = tonumber(hour), tonumber(minute)
  if not year or month < 1 or month > 12 or day < 1 or day > 31 or hour > 23 or minute > 59 then
    return nil
  end
  -- The year begins in March, so that a leap day is its last.
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  local days = 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  days = days + math.floor((153 * month - 457) / 5) + day - 719469
  return ((days * 24 + hour) * 60 + minute) * 60000
end

local function due_ms(entry)
  if string.sub(entry, 1, #BODY) ~= BODY then
    return nil
  end
  -- A body that is text may have an escaped quote here; then what follows does not match.
  local at = string.find(entry, '"', #BODY + 1, true)
  if not at then
    return nil
  end
  if not head or string.sub(entry, at, at + #head - 1) ~= head then
    local from, to = string.find(entry, HEAD, at)
    if not from then
      return nil
    end
    head = string.sub(entry, from, to)
  end
  at = string.find(entry, '"', at + #head, true)
  if not at or string.sub(entry, at, at + #ID - 1) ~= ID then
    return nil
  end
  at = at + #ID
  local text = string.sub(entry, at, at + 16)
  local ms = minutes[text]
  if ms == nil then
    ms = minute_ms(text) or false
    minutes[text] = ms
  end
  local seconds = string.match(entry, '^([0-5]%d%.?%d*)%+00:00", "expires": null,', at + 17)
  return ms and seconds and ms + math.floor(seconds * 1000) or nil
end

