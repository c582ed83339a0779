-- ARGV: run, for how many ms, "1" to ask the owner to stop. Returns whether nobody stands before the run.
if redis.call('EXISTS', HEAD) == 0 then return 1 end
if ARGV[3] == '1' then redis.call('HSET', HEAD, 'stop', 1) end
local now, waiting, stands = millis(), {}, false
local packed = redis.call('HGET', HEAD, 'waiting')
for _, other in ipairs(packed and cmsgpack.unpack(packed) or {}) do
  if other[1] == ARGV[1] then
    other[2], stands = now + ARGV[2], true
  end
  if other[2] > now then waiting[#waiting + 1] = other end
end
if not stands then waiting[#waiting + 1] = {ARGV[1], now + ARGV[2]} end
redis.call('HSET', HEAD, 'waiting', cmsgpack.pack(waiting))
return waiting[1][1] == ARGV[1] and 1 or 0
