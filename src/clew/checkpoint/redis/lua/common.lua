-- What the scripts share; it stands before each of them. Numbers are text throughout: an epoch is above what a double can tell.
--
-- Of one thread there are four keys, all in one slot of a cluster:
--   HEAD   hash: name, epoch, seq, spaces, newest (id), count and bytes (for lists of threads); token (of the last commit);
--          run, owner, base, until of the lease (ms, by this server's clock); stop, waiting (packed: run, until, ...);
--          for each namespace "/<ns>": "<number> <head> <logs>"; for each event log "~<run>": see told.lua
--   ITEMS  hash: "<log>:<number>" -> bytes
--   ROWS   hash: "<seq>" -> "<number> <parent> <base> <next> <id><body>", where "-" stands for none; and what is kept beside
--          a checkpoint, by its member in INDEX -> bytes
--   INDEX  zset, by its members: "c<number>:<chunk>" where a namespace may have checkpoints <chunk> * 64 and on; "k<seq>:<task>" of outcomes;
--          "i<log>:<chunk>" where there may be items <chunk> * 256 and on. Numbers are padded with zeros.
--
-- A script that writes checks everything before it does: nothing rolls it back.
local HEAD, ITEMS, ROWS, INDEX = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local CHUNK, STRETCH, MANY = 256, 64, 1000

local function millis()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- How long all four live from now on: "0" leaves them as they are, "-1" is for ever. The head goes first, and a minute later
-- what a reader that has seen it may still want.
local function live(ttl)
  if ttl == '-1' and redis.call('PTTL', HEAD) >= 0 then
    for i = 1, 4 do redis.call('PERSIST', KEYS[i]) end
  elseif tonumber(ttl) > 0 then
    local at = millis() + ttl
    redis.call('PEXPIREAT', HEAD, string.format('%d', at))
    for i = 2, 4 do redis.call('PEXPIREAT', KEYS[i], string.format('%d', at + 60000)) end
  end
end

-- number, parent, base, next, and where the id begins
local function parsed(row)
  return string.match(row, '^(%d+) (%S+) (%S+) (%S+) ()')
end

local function id_of(row)
  local _, _, _, _, at = parsed(row)
  return string.sub(row, at, at + 15)
end

local function stretch_of(number, seq)
  return string.format('c%010d:%020d', number, math.floor(seq / STRETCH))
end

local function chunk_of(log, chunk)
  return string.format('i%020d:%012d', log, chunk)
end

local function outcomes(seq)
  return redis.call('ZRANGEBYLEX', INDEX, string.format('[k%020d:', seq), string.format('(k%020d;', seq))
end

-- Several fields of a hash; `unpack` takes no more than some thousands at once.
local function fetched(key, fields)
  local found = {}
  for i = 1, #fields, MANY do
    local some = redis.call('HMGET', key, unpack(fields, i, math.min(i + MANY - 1, #fields)))
    for j = 1, #some do found[i + j - 1] = some[j] end
  end
  return found
end

-- The checkpoints of a namespace in a stretch, in turn, by their seqs: seq and row.
local function stretch(member)
  local number, at = string.match(member, '^c0*(%d+):0*(%d+)$')
  local seqs, found = {}, {}
  for seq = at * STRETCH, at * STRETCH + STRETCH - 1 do seqs[#seqs + 1] = string.format('%d', seq) end
  local rows = fetched(ROWS, seqs)
  for i = 1, #seqs do
    if rows[i] and parsed(rows[i]) == number then found[#found + 1] = {seqs[i], rows[i]} end
  end
  return found
end

-- A checkpoint with all that belongs to it: seq, row, base, id of the parent, seq and row of the next, outcomes in turn.
local function whole(seq, row, followed)
  local _, parent, base, after = parsed(row)
  local above = parent ~= '-' and redis.call('HGET', ROWS, parent)
  local found = {
    seq, row, base ~= '-' and redis.call('HGET', ROWS, base) or false, above and id_of(above) or false,
    after, followed and after ~= '-' and redis.call('HGET', ROWS, after) or false,
  }
  local members = outcomes(seq)
  local bodies = fetched(ROWS, members)
  for i = 1, #members do
    found[#found + 1] = string.sub(members[i], 23)
    found[#found + 1] = bodies[i]
  end
  return found
end

-- A run leaves the queue of those who wait.
local function forget(packed, run)
  local waiting = {}
  for _, other in ipairs(cmsgpack.unpack(packed)) do
    if other[1] ~= run then waiting[#waiting + 1] = other end
  end
  if #waiting > 0 then
    redis.call('HSET', HEAD, 'waiting', cmsgpack.pack(waiting))
  else
    redis.call('HDEL', HEAD, 'waiting')
  end
end

-- Whether the thread has checkpoints, and what they are kept in is not there.
local function thrown_out()
  return tonumber(redis.call('HGET', HEAD, 'count')) > 0 and redis.call('EXISTS', ROWS, INDEX) < 2
end
