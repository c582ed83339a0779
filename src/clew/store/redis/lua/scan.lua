-- ARGV: a prefix; how many are wanted, "-1" for all; "1" where the rows are wanted and not only their places. In order.
local most, sorted = tonumber(ARGV[2]), {}

-- Text by its bytes: `<` would ask the server's locale.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local one, other = string.byte(a, i), string.byte(b, i)
    if one ~= other then return one < other end
  end
  return #a < #b
end

local function first(a, b)
  if a.at ~= b.at then return a.at < b.at end
  if a.key ~= b.key then return before(a.key, b.key) end
  return a.ns ~= b.ns and before(a.ns, b.ns)
end

local function cut()
  table.sort(sorted, first)
  if most >= 0 then
    for i = #sorted, most + 1, -1 do sorted[i] = nil end
  end
end

local current, count, oldest
if most ~= 0 then
  walk(ARGV[1], function(ns, order, key)
    local at = tonumber(order)
    if ns ~= current then current, count = ns, 0 end
    if oldest and at > oldest then return true end -- older than all that are wanted, as is what follows
    if lives(ns .. '\0' .. key) then
      sorted[#sorted + 1] = {at = at, key = key, ns = ns}
      count = count + 1
      if most >= 0 and #sorted > 2 * most + 100 then
        cut()
        oldest = sorted[most].at
      end
    end
    return count == most
  end)
  cut()
end
local answer = {}
for _, item in ipairs(sorted) do
  local place = item.ns .. '\0' .. item.key
  if ARGV[3] == '1' then tell(answer, place) else answer[#answer + 1] = place end
end
return answer
