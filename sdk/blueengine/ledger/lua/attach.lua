-- attach: the input of a node is released: it takes what the client has pushed so far, and from now on
-- each message is sent to it as it comes.
-- include: base session pushes
-- ARGV  1 session  2 attempt  3 node  4 channels of the client that it reads "x,y"
-- answer: "stale" | {{channel, number of the first message, 1 when it has ended, {message, …}}, …}
local S = load(ARGV[1], 'push')
if not S or S.at ~= tonumber(ARGV[2]) or terminal(S) then return 'stale' end
if not get(S, 'push') then put(S, 'push', ARGV[4]) end
redis.call('HSET', K.pushes(S.id), 'a:' .. ARGV[3], S.at)
local kept = {}
for i, channel in ipairs(split(ARGV[4])) do
  local messages = redis.call('LRANGE', K.pushed(S.id, channel), 0, -1)
  local total = tonumber(fact(S, 'n:' .. channel) or '0')
  kept[i] = {channel, total - #messages, fact(S, 'e:' .. channel) and 1 or 0, messages}
end
save(S)
return kept
