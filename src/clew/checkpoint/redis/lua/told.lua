-- Event logs. KEYS[5] has the groups of one: zset, by its members "<first> <count> <body>", the first padded with zeros. The field
-- "~<run>" of HEAD has "<no> <last> <floor> <ended> <until> <epoch>": `no` counts the thread's logs, `until` is in ms.
local EVENTS = KEYS[5]

local function group_at(first)
  return string.format('%020d ', first)
end

local function log_of(field)
  local no, last, floor, ended, till, epoch = string.match(field, '^(%d+) (%d+) (%d+) (%d) (%d+) (%d+)$')
  return tonumber(no), tonumber(last), tonumber(floor), ended, tonumber(till), epoch
end

-- Whether a log's time is over, and it has ended or nobody has the thread.
local function expired(ended, till)
  local now, lease = millis(), redis.call('HGET', HEAD, 'until')
  return till <= now and (ended == '1' or not lease or tonumber(lease) <= now)
end

-- A new log's number. What has expired of the thread's others is forgotten; their groups go by themselves.
local function new_log()
  local fields, highest = redis.call('HGETALL', HEAD), 0
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == '~' then
      local no, _, _, ended, till = log_of(fields[i + 1])
      highest = math.max(highest, no)
      if expired(ended, till) then redis.call('HDEL', HEAD, fields[i]) end
    end
  end
  return highest + 1
end

-- Adds to a log, as the batch says.
local function tell(events, epoch)
  local name, no, last, floor = '~' .. ARGV[events.run], nil, 0, tonumber(events.floor)
  local field = redis.call('HGET', HEAD, name)
  if field then
    local was, below
    no, was, below = log_of(field)
    last, floor = was, math.max(below, floor)
  else
    no = new_log()
    redis.call('UNLINK', EVENTS)
  end
  if events.body then
    local first, count = tonumber(events.first), tonumber(events.count)
    redis.call('ZREMRANGEBYLEX', EVENTS, '[' .. group_at(first), '(' .. group_at(first + 1))
    redis.call('ZADD', EVENTS, 0, group_at(first) .. events.count .. ' ' .. ARGV[events.body])
    last = math.max(last, first + count - 1)
  end
  while true do -- those that end below the floor
    local oldest = redis.call('ZRANGEBYLEX', EVENTS, '-', '+', 'LIMIT', 0, 1)[1]
    if not oldest then break end
    local first, count = string.match(oldest, '^(%d+) (%d+) ')
    if tonumber(first) + tonumber(count) > floor then break end
    redis.call('ZREM', EVENTS, oldest)
  end
  local till = millis() + events.ms
  local ended = events.ended and 1 or 0
  redis.call('HSET', HEAD, name, string.format('%d %d %d %d %d ', no, last, floor, ended, till) .. epoch)
  -- an open log lives for a day after it was last written, at least: its run may say nothing for long
  redis.call('PEXPIREAT', EVENTS, string.format('%d', (events.ended and till or math.max(till, millis() + 86400000)) + 60000))
end
