-- ARGV: a prefix. Returns the namespaces below it that have an item.
local answer = {}
walk(ARGV[1], function(ns, _, key)
  if not lives(ns .. '\0' .. key) then return false end
  answer[#answer + 1] = ns
  return true
end)
return answer
