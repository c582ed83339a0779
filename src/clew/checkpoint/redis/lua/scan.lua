-- ARGV: namespace, below which seq, how many, ttl. Returns nothing, or the namespace and its checkpoints, newest first.
local space = redis.call('HGET', HEAD, '/' .. ARGV[1])
if not space then return false end
live(ARGV[4])
local number = string.match(space, '^%d+')
local before, limit, found = tonumber(ARGV[2]), tonumber(ARGV[3]), {space}
local below, from = '[' .. stretch_of(number, before), '[' .. stretch_of(number, 0)
while #found <= limit do
  local members = redis.call('ZREVRANGEBYLEX', INDEX, below, from, 'LIMIT', 0, 10)
  for _, member in ipairs(members) do
    local rows = stretch(member)
    for i = #rows, 1, -1 do
      if #found > limit then return found end
      if tonumber(rows[i][1]) < before then found[#found + 1] = whole(rows[i][1], rows[i][2], true) end
    end
    below = '(' .. member
  end
  if #members < 10 then break end
end
if #found == 1 and thrown_out() then found[2] = false end
return found
