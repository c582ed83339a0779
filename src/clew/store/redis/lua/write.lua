-- ARGV: for how many milliseconds to remember the answer; then of each put its namespace, key, "1" or "0" for a value or none,
-- value, vectors, ttl, and the version that is wanted; "" stands for none. Returns nothing, or the number of the first whose
-- condition does not hold and the version that is there.
--
-- The answer is kept for a while in a key of this write's own: where the client lost it and asks again, it has the same one.
local DONE, PARTS = KEYS[6], 7

local answer = redis.call('HMGET', DONE, 'nth', 'version')
if answer[1] == '' then return {} end
if answer[1] then return answer end

local function done(nth, version)
  redis.call('HSET', DONE, 'nth', nth, 'version', version)
  redis.call('PEXPIRE', DONE, ARGV[1])
end

local at = math.max(now, tonumber(redis.call('HGET', META, 'last') or 0) + 1) -- the clock may have been set back
local began = {}
for i = 2, #ARGV, PARTS do
  local created, updated = found(ARGV[i] .. '\0' .. ARGV[i + 1])
  began[i] = created or whole(at)
  local wanted, version = ARGV[i + 6], updated or '0'
  if wanted ~= '' and wanted ~= version then
    local nth = tostring((i - 2) / PARTS + 1)
    done(nth, version)
    return {nth, version}
  end
end

redis.call('HSET', META, 'last', whole(at))
for i = 2, #ARGV, PARTS do
  local ns, key, kept, value, vectors, ttl = unpack(ARGV, i, i + 5)
  local place = ns .. '\0' .. key
  drop(place)
  if kept == '1' then
    local expires = ttl == '' and '-' or whole(now + ttl * 1000)
    redis.call('HSET', META, place, table.concat({began[i], whole(at), ttl == '' and '-' or ttl, expires}, ' '))
    redis.call('HSET', VALUES, place, value)
    if vectors ~= '' then redis.call('HSET', VECTORS, place, vectors) end
    redis.call('ZADD', INDEX, 0, ns .. '\0' .. order(at) .. key)
    if expires ~= '-' then redis.call('ZADD', EXPIRY, expires, place) end
  end
end
done('', '')
return {}
