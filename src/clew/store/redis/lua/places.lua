-- ARGV: a prefix. Returns the places below it, in any order.
local answer = {}
walk(ARGV[1], function(ns, _, key)
  local place = ns .. '\0' .. key
  if lives(place) then answer[#answer + 1] = place end
end)
return answer
