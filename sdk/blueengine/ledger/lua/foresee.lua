-- foresee: which instances a session would be given now; nothing is taken.
-- include: base session release slots
-- ARGV  1 nodes "name=engine,…"  2 rank  3 placement: "policy,near" or ""  4 tenant or ""
-- answer: the instances in the order of the nodes, each as "instance host zone"; none when it would wait
local tenant = ARGV[4] ~= '' and ARGV[4]
local order = num(-tonumber(ARGV[2]) * 68719476736 + (redis.call('GET', K.order()) or 0) + 1)
local S = {id = '', key = '', tenant = tenant, st = 'pending', at = 1, text = ARGV[1], slots = 0, dirty = {}, history = {},
  fields = {order = order, refusers = false, missed = false, placement = ARGV[3]}}
local picks = not over_quota(S) and not behind(S) and take(S)
if not picks then return {} end
local answer = {}
for i, n in ipairs(nodes(S)) do
  local slots = redis.call('ZINCRBY', K.free(n.engine), 1, picks[i])
  local at = redis.call('HMGET', K.instance(picks[i]), 'host', 'zone')
  follow(n.engine, picks[i], slots, at[1], at[2])
  answer[i] = picks[i] .. ' ' .. (at[1] or '') .. ' ' .. (at[2] or '')
end
return answer
