-- ARGV: the batch, packed, and all that is bytes, which it names by their places; those of items come first. Returns -1 where
-- the thread does not stand as the batch expects, else whether its run is asked to stop.
local batch = cmsgpack.unpack(ARGV[1])
local ns, lease = '/' .. ARGV[batch.ns], batch.lease
local found = redis.call('HMGET', HEAD, 'epoch', 'token', 'seq', 'spaces', ns, 'stop')
local epoch, token, last, spaces, space = found[1], found[2], tonumber(found[3] or 0), tonumber(found[4] or 0), found[5]
local stop = tonumber(found[6] or 0)
if token == batch.token then return stop end -- made again by the client, which lost the answer
if (epoch or '0') ~= batch.epoch then return -1 end

if batch.logs then
  local number, head = batch.number, '-'
  if space then number, head = string.match(space, '^(%d+) (%S+) ') end
  if number ~= batch.number or head ~= batch.head then return -1 end
  if epoch then
    for _, field in ipairs(batch.items) do
      if redis.call('HEXISTS', ITEMS, field) == 1 then return -1 end
    end
    for _, row in ipairs(batch.rows) do
      if redis.call('HEXISTS', ROWS, row[1]) == 1 then return -1 end
    end
  end
end

if not epoch then -- what is left of one that has expired, or lost its head to a full server
  redis.call('UNLINK', ITEMS, ROWS, INDEX)
  redis.call('HSET', HEAD, 'name', ARGV[batch.thread], 'seq', 0, 'spaces', 0, 'count', 0, 'bytes', 0)
end
redis.call('HSET', HEAD, 'epoch', batch.claim or batch.epoch, 'token', batch.token)

if batch.logs then
  local bytes, seq = 0, batch.head
  for i, field in ipairs(batch.items) do
    redis.call('HSET', ITEMS, field, ARGV[i + 1])
    bytes = bytes + #ARGV[i + 1]
  end
  for _, member in ipairs(batch.chunks) do redis.call('ZADD', INDEX, 0, member) end
  for _, row in ipairs(batch.rows) do
    seq = row[1]
    redis.call('HSET', ROWS, seq, string.format('%s %s %s - ', batch.number, row[2], row[3]) .. ARGV[row[4]])
    redis.call('ZADD', INDEX, 0, stretch_of(batch.number, seq))
    bytes = bytes + #ARGV[row[4]] - 16
  end
  for _, row in ipairs(batch.rows) do -- each names the first that grew from it
    local above = row[2] ~= '-' and redis.call('HGET', ROWS, row[2])
    if above then
      local number, parent, base, after, at = parsed(above)
      if number == batch.number and (after == '-' or tonumber(after) > tonumber(row[1])) then
        local rest = string.sub(above, at)
        redis.call('HSET', ROWS, row[2], string.format('%s %s %s %s ', number, parent, base, row[1]) .. rest)
      end
    end
  end
  if #batch.rows > 0 then
    if tonumber(seq) > last then
      redis.call('HSET', HEAD, 'seq', seq, 'newest', string.sub(ARGV[batch.rows[#batch.rows][4]], 1, 16))
    end
    redis.call('HINCRBY', HEAD, 'count', #batch.rows)
  end
  redis.call('HINCRBY', HEAD, 'bytes', bytes)
  if batch.number + 1 > spaces then redis.call('HSET', HEAD, 'spaces', batch.number + 1) end
  redis.call('HSET', HEAD, ns, string.format('%s %s ', batch.number, seq) .. ARGV[batch.logs])
end

for _, outcome in ipairs(batch.kept) do
  redis.call('HSET', ROWS, ARGV[outcome[1]], ARGV[outcome[2]])
  redis.call('ZADD', INDEX, 0, ARGV[outcome[1]])
end

if lease then
  redis.call('HSET', HEAD, 'run', ARGV[lease.run], 'owner', ARGV[lease.owner], 'until', string.format('%d', millis() + lease.ms))
  if lease.base then redis.call('HSET', HEAD, 'base', ARGV[lease.base]) else redis.call('HDEL', HEAD, 'base') end
elseif batch.claim or batch.release then
  redis.call('HDEL', HEAD, 'run', 'owner', 'base', 'until')
end
if batch.claim then
  local packed = redis.call('HMGET', HEAD, 'stop', 'waiting')
  stop = 0
  if packed[1] then redis.call('HDEL', HEAD, 'stop') end
  if lease and packed[2] then forget(packed[2], ARGV[lease.run]) end
end
if batch.events then tell(batch.events, batch.claim or batch.epoch) end
live(batch.ttl)
return stop
