-- ARGV: namespace, seq or "" for the head's, id, ttl. Returns nothing, or the head's fields and the checkpoint, false where
-- there is none.
local head = redis.call('HMGET', HEAD, 'epoch', 'seq', 'spaces', 'run', 'owner', 'base', 'until', '/' .. ARGV[1])
if not head[1] then return false end
live(ARGV[4])
if head[4] then head[7] = string.format('%d', head[7] - millis()) end
if not head[8] then return {head, false, 0} end
local number, seq = string.match(head[8], '^(%d+) (%S+) ')
local named = ARGV[2] ~= ''
if named then seq = ARGV[2] end
local row = seq ~= '-' and redis.call('HGET', ROWS, seq)
if not row or parsed(row) ~= number or (named and id_of(row) ~= ARGV[3]) then return {head, false, thrown_out() and 1 or 0} end
return {head, whole(seq, row, named), 0}
