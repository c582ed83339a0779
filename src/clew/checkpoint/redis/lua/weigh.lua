-- Returns log, how many items, and their bytes, in turn; how many checkpoints, and their bytes; how many outcomes, and theirs.
local items, order, rows, kept = {}, {}, {0, 0}, {0, 0}
for _, field in ipairs(redis.call('HKEYS', ITEMS)) do
  local log = string.match(field, '^%d+')
  if not items[log] then
    items[log] = {0, 0}
    order[#order + 1] = log
  end
  local weight = items[log]
  weight[1], weight[2] = weight[1] + 1, weight[2] + redis.call('HSTRLEN', ITEMS, field)
end
for _, field in ipairs(redis.call('HKEYS', ROWS)) do
  if string.sub(field, 1, 1) == 'k' then
    kept[1], kept[2] = kept[1] + 1, kept[2] + redis.call('HSTRLEN', ROWS, field)
  else
    local row = redis.call('HGET', ROWS, field)
    local _, _, _, _, at = parsed(row)
    rows[1], rows[2] = rows[1] + 1, rows[2] + #row - at - 15
  end
end
local weights = {}
for _, log in ipairs(order) do
  weights[#weights + 1] = log
  weights[#weights + 1] = string.format('%d', items[log][1])
  weights[#weights + 1] = string.format('%d', items[log][2])
end
return {weights, rows, kept}
