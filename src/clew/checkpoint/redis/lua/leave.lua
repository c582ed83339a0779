-- ARGV: run.
local packed = redis.call('HGET', HEAD, 'waiting')
if packed then forget(packed, ARGV[1]) end
