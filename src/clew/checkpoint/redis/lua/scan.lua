-- ARGV: namespace, below which seq, how many, ttl. Returns nothing, or the namespace and its checkpoints, newest first.
local space = redis.call('HGET', HEAD, '/' .. ARGV[1])
if not space then return false end
live(ARGV[4])
local number = string.match(space, '^%d+')
local below, from = '(' .. checkpoint(number, ARGV[2]), '[' .. checkpoint(number, 0)
local found = {space}
for _, member in ipairs(redis.call('ZREVRANGEBYLEX', INDEX, below, from, 'LIMIT', 0, ARGV[3])) do
  local seq = string.match(member, ':0*(%d+)$')
  local row = redis.call('HGET', ROWS, seq)
  found[#found + 1] = row and whole(seq, row, true)
end
return found
