-- ARGV: what goes, packed, and the bytes of rows that are changed, which it names by their places. Returns -1 where the epoch is another, else 0.
local gone = cmsgpack.unpack(ARGV[1])
if redis.call('HGET', HEAD, 'epoch') ~= gone.epoch then return -1 end
local fewer, bytes, orphans, emptied = 0, 0, {}, {}
local newest = redis.call('HGET', HEAD, 'seq')

-- The first that grows from a checkpoint is another by now
local function orphan(parent, seq)
  local above = parent ~= '-' and redis.call('HGET', ROWS, parent)
  if above then
    local number, _, _, after = parsed(above)
    if after == seq then orphans[parent] = number end
  end
end

-- Looks for it, in one pass over what is left; and for the newest of all, where that is gone.
local function relink()
  if not next(orphans) and redis.call('HEXISTS', ROWS, newest) == 1 then return end
  local first, last, id = {}, -1, false
  for _, member in ipairs(redis.call('ZRANGEBYLEX', INDEX, '[c', '(d')) do
    for _, pair in ipairs(stretch(member)) do
      local seq, row = pair[1], pair[2]
      local number, parent = parsed(row)
      if orphans[parent] == number and not first[parent] then first[parent] = seq end
      if tonumber(seq) > last then last, id = tonumber(seq), id_of(row) end
    end
  end
  for parent in pairs(orphans) do
    local above = redis.call('HGET', ROWS, parent)
    if above then
      local number, its, base, _, at = parsed(above)
      local after = first[parent] or '-'
      redis.call('HSET', ROWS, parent, string.format('%s %s %s %s ', number, its, base, after) .. string.sub(above, at))
    end
  end
  if id then redis.call('HSET', HEAD, 'newest', id) else redis.call('HDEL', HEAD, 'newest') end
end

for _, seq in ipairs(gone.rows) do
  for _, member in ipairs(outcomes(seq)) do
    redis.call('HDEL', ROWS, member)
    redis.call('ZREM', INDEX, member)
  end
  local row = redis.call('HGET', ROWS, seq)
  if row then
    local number, parent, _, _, at = parsed(row)
    redis.call('HDEL', ROWS, seq)
    emptied[stretch_of(number, seq)] = true
    orphan(parent, seq)
    fewer, bytes = fewer + 1, bytes + #row - at - 15
  end
end

for member in pairs(emptied) do
  if #stretch(member) == 0 then redis.call('ZREM', INDEX, member) end
end

for _, row in ipairs(gone.changed) do
  local seq, was = row[1], redis.call('HGET', ROWS, row[1])
  if was then
    local number, parent, _, after, at = parsed(was)
    redis.call('HSET', ROWS, seq, string.format('%s %s %s %s ', number, row[2], row[3], after) .. ARGV[row[4]])
    bytes = bytes + #was - at - 15 - (#ARGV[row[4]] - 16)
    if row[2] ~= parent then
      orphan(parent, seq)
      if row[2] ~= '-' then orphans[row[2]] = number end
    end
  end
end
relink()

for _, range in ipairs(gone.ranges) do
  local log, from, to = range[1], tonumber(range[2]), tonumber(range[3])
  local first, last = math.floor(from / CHUNK), math.floor((to - 1) / CHUNK)
  for _, member in ipairs(redis.call('ZRANGEBYLEX', INDEX, '[' .. chunk_of(log, first), '[' .. chunk_of(log, last))) do
    local start, left = tonumber(string.match(member, '%d+$')) * CHUNK, false
    for n = start, start + CHUNK - 1 do
      local field = string.format('%s:%d', log, n)
      if n >= from and n < to then
        bytes = bytes + redis.call('HSTRLEN', ITEMS, field)
        redis.call('HDEL', ITEMS, field)
      elseif not left then
        left = redis.call('HEXISTS', ITEMS, field) == 1
      end
    end
    if not left then redis.call('ZREM', INDEX, member) end
  end
end

for _, item in ipairs(gone.items) do
  local was = redis.call('HSTRLEN', ITEMS, item[1])
  if redis.call('HEXISTS', ITEMS, item[1]) == 1 then
    redis.call('HSET', ITEMS, item[1], ARGV[item[2]])
    bytes = bytes + was - #ARGV[item[2]]
  end
end

if #gone.spaces > 0 then
  local numbers, fields = {}, redis.call('HGETALL', HEAD)
  for _, number in ipairs(gone.spaces) do numbers[number] = true end
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == '/' and numbers[string.match(fields[i + 1], '^(%d+) %S+ ')] then
      redis.call('HDEL', HEAD, fields[i])
    end
  end
end
redis.call('HINCRBY', HEAD, 'count', 0 - fewer) -- `-0` is no number to Redis
redis.call('HINCRBY', HEAD, 'bytes', 0 - bytes)
return 0
