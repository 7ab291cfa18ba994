-- tap: have the engines that run a session copy what goes over a channel to a gateway, for a while.
-- include: base session
-- ARGV  1 session  2 nodes to be told "a,b"  3 channel  4 gateway  5 seconds
-- answer: how many were told (0 while it does not run) | nil when there is no such session
local S, told = load(ARGV[1]), 0
if not S then return nil end
if S.st ~= 'processing' then return 0 end
for _, node in ipairs(split(ARGV[2])) do
  if get(S, node .. ':st') == 'processing' then
    local instance = get(S, node .. ':in')
    redis.call('XADD', K.commands(instance), 'NOMKSTREAM', '*', 't', 'tap', 's', S.id, 'a', S.at, 'n', node,
      'c', ARGV[3], 'g', ARGV[4], 'x', ARGV[5])
    told = told + 1
  end
end
return told
