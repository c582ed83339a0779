-- ARGV: the place to begin after, as log and number, and how many. Returns field and bytes in turn, by their places.
local log, number, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local from, found = '[' .. chunk_of(log, math.max(0, math.floor(number / CHUNK))), {}
while #found < 2 * limit do
  local members = redis.call('ZRANGEBYLEX', INDEX, from, '(j', 'LIMIT', 0, MANY)
  for _, member in ipairs(members) do
    local of, chunk = string.match(member, '^i0*(%d+):0*(%d+)$')
    local fields, first = {}, chunk * CHUNK
    if of == log then first = math.max(first, number + 1) end
    for n = first, chunk * CHUNK + CHUNK - 1 do fields[#fields + 1] = string.format('%s:%d', of, n) end
    local some = fetched(ITEMS, fields)
    for i = 1, #fields do
      if some[i] and #found < 2 * limit then
        found[#found + 1] = fields[i]
        found[#found + 1] = some[i]
      end
    end
    if #found >= 2 * limit then return found end
    from = '(' .. member
  end
  if #members < MANY then break end
end
return found
