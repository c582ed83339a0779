-- ARGV: places. Returns place, meta and value of each that has an item.
local answer = {}
for _, place in ipairs(ARGV) do tell(answer, place) end
return answer
