-- watch: be poked about a session, at its end or at everything that happens to it. Gateways that are
-- gone are taken out of the list.
-- include: base session
-- ARGV  1 session  2 gateway  3 "wait" | "follow"
-- answer: the status now | nil when there is no such session
local S = load(ARGV[1])
if not S then return nil end
local have, all = get(S, ARGV[3]) or '', {}
if not string.find(',' .. have .. ',', ',' .. ARGV[2] .. ',', 1, true) then
  for _, g in ipairs(split(have)) do
    if redis.call('PUBSUB', 'NUMSUB', K.poke(g))[2] > 0 then all[#all + 1] = g end
  end
  all[#all + 1] = ARGV[2]
  redis.call('HSET', S.key, ARGV[3], table.concat(all, ','))
end
return S.st
