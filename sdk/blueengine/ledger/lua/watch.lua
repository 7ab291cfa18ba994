-- watch: be poked about a session, at its end or at everything that happens to it.
-- include: base session
-- ARGV  1 session  2 gateway  3 "wait" | "follow"
-- answer: the status now | nil when there is no such session
local S = load(ARGV[1])
if not S then return nil end
local have = get(S, ARGV[3]) or ''
if not string.find(',' .. have .. ',', ',' .. ARGV[2] .. ',', 1, true) then
  redis.call('HSET', S.key, ARGV[3], have == '' and ARGV[2] or have .. ',' .. ARGV[2])
end
return S.st
