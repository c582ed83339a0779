-- ARGV: a prefix. Returns the namespaces below it that have an item.
local answer = {}
each(ARGV[1], function(ns)
  items(ns, function()
    answer[#answer + 1] = ns
    return true
  end)
end)
return answer
