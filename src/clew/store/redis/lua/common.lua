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

local expiring = redis.call('ZCARD', EXPIRY) > 0

local function lives(place)
  local expires = expiring and redis.call('ZSCORE', EXPIRY, place)
  return not expires or tonumber(expires) > now
end

-- Calls `visit` with namespace, order and key of what is in this namespace and below it, or of all where it is empty: each
-- namespace from its newest item on, until `visit` says that it has had enough of that one. What has expired is among them.
local function walk(prefix, visit)
  local ranges = {{'-', '+'}}
  if prefix ~= '' then
    ranges = {{'[' .. prefix .. '\0', '(' .. prefix .. '\1'}, {'[' .. prefix .. '.', '(' .. prefix .. '/'}}
  end
  for _, range in ipairs(ranges) do
    local from, count, members, enough = range[1], 32, nil, nil
    repeat
      members = redis.call('ZRANGEBYLEX', INDEX, from, range[2], 'LIMIT', 0, count)
      for _, member in ipairs(members) do
        local ns, rest = split(member)
        from = '(' .. member
        if ns ~= enough and visit(ns, string.sub(rest, 1, WIDTH), string.sub(rest, WIDTH + 1)) then enough = ns end
        if ns == enough then from = '[' .. ns .. '\1' end
      end
      local full = #members == count
      count = MANY
    until not full
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
