-- forget: delete an ended session and everything kept with it.
-- include: base session
-- ARGV  1 session
-- answer: 1 | 0 when it has not ended, is gone already, or an engine has not let go of it (then it
--         is due again in a while)
local S = load(ARGV[1])
if S and not terminal(S) then return 0 end
if S and S.slots > 0 then
  redis.call('ZADD', K.expiry(), num(now() + 5000000), S.id)
  return 0
end
redis.call('ZREM', K.expiry(), ARGV[1])
if not S then return 0 end
for _, c in ipairs(split(get(S, 'stored'))) do redis.call('DEL', K.results(S.id, c)) end
if S.hooks then unlist(S.id, S.hooks) end
redis.call('DEL', S.key, K.events(S.id), K.logs(S.id))
redis.call('ZREM', K.sessions(), S.id)
redis.call('ZREM', K.status(S.st), S.id)
if S.tenant then
  redis.call('ZREM', K.tenant_sessions(S.tenant), S.id)
  redis.call('ZREM', K.tenant_status(S.tenant, S.st), S.id)
end
return 1
