-- push: one more message of the client for a channel of an interactive session, or the channel's end.
-- What comes before the input is released is kept and goes to each reader with it (see attach).
-- include: base session pushes
-- ARGV  1 session  2 channel  3 nodes that read it "a,b"  4 channels the client may write "x,y"
--       5 number the client gives it (0 is the first pushed) or ""  6 its key or ""  7 hash of it
--       8 "data" | "end"  9 bytes it takes of the window  10 blob it lies in or ""  11 message
--       12 stored item or ""  13 messages and  14 bytes that may wait to be consumed
--       15 gateway to poke when there is room, or ""
-- answer: {"ok", number} | {"again", number} (it is there already)
--       | {"full"} | {"gap", number of the next} | {"closed"} | {"unread"} (all readers have ended)
--       | {"conflict"} (the key came with another message) | {"ended", status} | {"unknown"}
local S = load(ARGV[1], 'push')
if not S then return {'unknown'} end
local channel, facts, log = ARGV[2], K.pushes(ARGV[1]), K.pushed(ARGV[1], ARGV[2])
if terminal(S) or S.st == 'stopping' then return {'ended', S.st} end
if ARGV[6] ~= '' then
  local known = fact(S, 'k:' .. ARGV[6])
  if known then
    local c, number, hash = string.match(known, '^(%S+) (%d+) (%S+)$')
    if c ~= channel or hash ~= ARGV[7] then return {'conflict'} end
    return {'again', tonumber(number)}
  end
end
local number = tonumber(fact(S, 'n:' .. channel) or '0')
local closed, is_end = fact(S, 'e:' .. channel), ARGV[8] == 'end'
if closed and is_end then return {'again', number} end
if ARGV[5] ~= '' then
  local wanted = tonumber(ARGV[5])
  if wanted < number then return {'again', wanted} end
  if wanted > number then return {'gap', number} end
end
if closed then return {'closed'} end
local nodes = reading(S, ARGV[3])
if #nodes == 0 and not is_end then return {'unread'} end

local function full()
  return redis.call('LLEN', log) >= tonumber(ARGV[13]) or tonumber(fact(S, 'b:' .. channel) or '0') >= tonumber(ARGV[14])
end
if not is_end and full() then
  trim(S, channel, nodes)  -- a reader that held it up may have ended
  if full() then
    if ARGV[15] ~= '' then
      redis.call('HSET', facts, 'w', listed(fact(S, 'w'), ARGV[15]))
      redis.call('HSET', S.key, 'wait', listed(get(S, 'wait'), ARGV[15]))
    end
    return {'full'}
  end
end

if get(S, 'push') ~= ARGV[4] then put(S, 'push', ARGV[4]) end
if is_end then redis.call('HSET', facts, 'e:' .. channel, '1')
else
  redis.call('RPUSH', log, ARGV[11])
  redis.call('HSET', facts, 'n:' .. channel, num(number + 1), 'z:' .. channel .. ':' .. number, ARGV[9] .. ' ' .. ARGV[10])
  redis.call('HINCRBY', facts, 'b:' .. channel, ARGV[9])
  if ARGV[12] ~= '' then
    S.long = true
    keep_pushed(S, channel, ARGV[12])
  end
end
if ARGV[6] ~= '' then remember(S, ARGV[6], channel .. ' ' .. number .. ' ' .. ARGV[7]) end
tell_readers(S, channel, nodes, number, ARGV[8], ARGV[11])
save(S)
return {'ok', number}
