-- ARGV: run, above which number, how many groups. Returns nothing; or "<latest> <last> <floor> <ended> <epoch>", the lease's run,
-- owner, base and what is left of it in ms, and the groups.
local field = redis.call('HGET', HEAD, '~' .. ARGV[1])
if not field then return false end
local no, last, floor, ended, till, epoch = log_of(field)
if expired(ended, till) then return false end
local latest, fields = 1, redis.call('HGETALL', HEAD)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 1) == '~' and log_of(fields[i + 1]) > no then latest = 0 end
end
local lease = redis.call('HMGET', HEAD, 'run', 'owner', 'base', 'until')
if lease[4] then lease[4] = string.format('%d', lease[4] - millis()) end
local after, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local from = redis.call('ZREVRANGEBYLEX', EVENTS, '(' .. group_at(after + 2), '-', 'LIMIT', 0, 1)[1] -- the one that may have it
local found = {string.format('%d %d %d %s ', latest, last, floor, ended) .. epoch, lease[1], lease[2], lease[3], lease[4]}
if from and limit > 0 then
  for _, group in ipairs(redis.call('ZRANGEBYLEX', EVENTS, '[' .. from, '+', 'LIMIT', 0, limit + 1)) do
    local first, count = string.match(group, '^(%d+) (%d+) ')
    if tonumber(first) + tonumber(count) - 1 > after and #found < limit + 5 then found[#found + 1] = group end
  end
elseif limit > 0 then
  for _, group in ipairs(redis.call('ZRANGEBYLEX', EVENTS, '-', '+', 'LIMIT', 0, limit)) do found[#found + 1] = group end
end
return found
