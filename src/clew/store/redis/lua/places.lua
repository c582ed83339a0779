-- ARGV: a prefix. Returns the places below it that have vectors, in any order.
local answer = {}
each(ARGV[1], function(ns)
  items(ns, function(_, key)
    local place = ns .. '\0' .. key
    if redis.call('HEXISTS', VECTORS, place) == 1 then answer[#answer + 1] = place end
  end)
end)
return answer
