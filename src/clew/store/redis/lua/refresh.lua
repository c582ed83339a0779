-- ARGV: places. Those that have a ttl live so long from now.
for _, place in ipairs(ARGV) do
  local created, updated, ttl = found(place)
  if ttl and ttl ~= '-' then
    local expires = whole(now + ttl * 1000)
    redis.call('HSET', META, place, table.concat({created, updated, ttl, expires}, ' '))
    redis.call('ZADD', EXPIRY, expires, place)
  end
end
