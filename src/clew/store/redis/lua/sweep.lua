-- Deletes what has expired, so many at most. Returns how many there were.
local gone = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', whole(now), 'LIMIT', 0, MANY)
for _, place in ipairs(gone) do drop(place) end
return #gone
