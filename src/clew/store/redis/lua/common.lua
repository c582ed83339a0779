-- What the scripts share; it stands before each of them. All keys of a store are in one slot of a cluster:
--   META     hash: place -> "<created> <updated> <ttl> <expires>", where "-" stands for none; and "last" -> the time of the last
--            write. A place is a namespace, its labels joined by ".", and a key: "<ns>\0<key>"
--   VALUES   hash: place -> bytes
--   VECTORS  hash: place -> bytes, where there are any
--   INDEX    zset, by its members: "<ns>\0<order><key>", where the order is the higher the older the item is
--   EXPIRY   zset: place, by when it expires
-- Times are microseconds since 1970 by this server's clock, which a double holds until the year 2255.
--
-- A script that writes checks everything before it does: nothing rolls it back.
local META, VALUES, VECTORS, INDEX, EXPIRY = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local WIDTH, LAST, MANY = 16, 9007199254740992, 1000

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function whole(number)
  return string.format('%.0f', number)
end

local function order(updated)
  return string.format('%016.0f', LAST - updated)
end

local function split(place)
  local at = string.find(place, '\0', 1, true)
  return string.sub(place, 1, at - 1), string.sub(place, at + 1)
end

-- What is known of a place: created, updated, ttl, expires. Nothing where nothing lives there.
local function found(place)
  local meta = redis.call('HGET', META, place)
  if not meta then return nil end
  local created, updated, ttl, expires = string.match(meta, '^(%S+) (%S+) (%S+) (%S+)$')
  if expires ~= '-' and tonumber(expires) <= now then return nil end
  return created, updated, ttl, expires, meta
end

local function drop(place)
  local meta = redis.call('HGET', META, place)
  if meta then
    local ns, key = split(place)
    redis.call('ZREM', INDEX, ns .. '\0' .. order(tonumber(string.match(meta, '^%S+ (%S+)'))) .. key)
    redis.call('ZREM', EXPIRY, place)
    for _, hash in ipairs({META, VALUES, VECTORS}) do redis.call('HDEL', hash, place) end
  end
end

-- Calls `visit` with each namespace that is this one or below it; all, where it is empty.
local function each(prefix, visit)
  local ranges = {{'-', '+'}}
  if prefix ~= '' then
    ranges = {{'[' .. prefix .. '\0', '(' .. prefix .. '\1'}, {'[' .. prefix .. '.', '(' .. prefix .. '/'}}
  end
  for _, range in ipairs(ranges) do
    local member = redis.call('ZRANGEBYLEX', INDEX, range[1], range[2], 'LIMIT', 0, 1)[1]
    while member do
      local ns = split(member)
      visit(ns)
      member = redis.call('ZRANGEBYLEX', INDEX, '[' .. ns .. '\1', range[2], 'LIMIT', 0, 1)[1]
    end
  end
end

-- Calls `visit` with the order and the key of each item of a namespace that lives, the newest first, until it says so.
local function items(ns, visit)
  local from, to = '[' .. ns .. '\0', '(' .. ns .. '\1'
  local few = 16
  while true do
    local members = redis.call('ZRANGEBYLEX', INDEX, from, to, 'LIMIT', 0, few)
    for _, member in ipairs(members) do
      local at, key = string.sub(member, #ns + 2, #ns + 1 + WIDTH), string.sub(member, #ns + 2 + WIDTH)
      if found(ns .. '\0' .. key) and visit(at, key) then return end
    end
    if #members < few then return end
    from, few = '(' .. members[#members], MANY
  end
end

-- Adds what there is of a place to an answer.
local function tell(answer, place)
  local _, _, _, _, meta = found(place)
  if meta then
    answer[#answer + 1] = place
    answer[#answer + 1] = meta
    answer[#answer + 1] = redis.call('HGET', VALUES, place)
  end
end
