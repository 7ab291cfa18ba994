-- submit: store a session and give it its slots at once if nobody waits before it, else queue it.
-- include: base session release slots submitting
-- ARGV  1 session  2 kind  3 rank  4 plan  5 nodes "name=engine,…"  6 nodes told to Go "a,b"
--       7 start data  8 stored channels "x,y"  9 specs version it was checked against, or -1
--       10 gateway to poke at the end, or ""  11 start timeout  12 time limit or 0  13 ttl
--       14 stop grace (all microseconds)  15 max attempts  16 labels (JSON)
--       17 Idempotency-Key record or ""  18 hash of the body  19 its webhooks (lib/outbox.lua) or ""
--       20 tenant or ""  21 pending sessions at most  22 of one engine at most (0: no limit)
--       23 placement: "policy,near" or ""
--       then the webhooks themselves, then stored start data: channel, item, …
-- answer: {"created"|"exists", session, status, sessions before it or -1, pending, queuing}
--         (the three numbers are counted only for a session that waits)
--       | {"specs"} | {"conflict"} | {"full", "all" | "tenant" | an engine, limit}

-- A session whose engines have free slots for it, have nothing to prepare and are waited for by nobody goes
-- the short way, which makes no more than it needs. It writes what submit_any does (tests hold the two
-- together). Webhooks, stored start data, a placement of its own, a tenant's limit, an elder: the long way.
local sid, tenant, engines, picks, all = ARGV[1], ARGV[20], {}, {}, {}
local key = K.session(sid)
if ARGV[19] ~= '' or ARGV[23] ~= '' or #ARGV > 23 or redis.call('EXISTS', key) == 1 then return submit_any() end
local specs, elder, known = unpack(redis.call('MGET', K.specs(), K.elder(), K.idempotency(ARGV[17])))
if ARGV[9] ~= '-1' and ARGV[9] ~= (specs or '0') or elder or known then return submit_any() end
if tenant ~= '' and (redis.call('HGET', K.tenant(tenant), 'max_running') or '0') ~= '0' then return submit_any() end
for name, engine in string.gmatch(ARGV[5], '([^=,]+)=([^,]+)') do
  local instance, free = unpack(redis.call('ZREVRANGE', K.free(engine), '0', '0', 'WITHSCORES'))
  if engines[engine] or not instance or tonumber(free) < 1 or redis.call('ZCARD', K.waiting(engine)) > 0 then return submit_any() end
  local eager, host, zone = unpack(redis.call('HMGET', K.instance(instance), 'eager', 'host', 'zone'))
  if eager ~= '1' then return submit_any() end
  engines[engine] = true
  picks[#picks + 1] = {name = name, engine = engine, instance = instance, free = num(free - 1), host = host, zone = zone}
end

local t = now()
local stamp, count = num(t), num(#picks)
local order = num(-tonumber(ARGV[3]) * 68719476736 + redis.call('INCR', K.order()))
local dirty = {'at', '1', 'kind', ARGV[2], 'rank', ARGV[3], 'plan', ARGV[4], 'nodes', ARGV[5],
  'fed', ARGV[6], 'input', ARGV[7], 'stored', ARGV[8], 'wait', ARGV[10], 'start', ARGV[11], 'limit', ARGV[12],
  'ttl', ARGV[13], 'grace', ARGV[14], 'max', ARGV[15], 'labels', ARGV[16], 'order', order, 'created', stamp,
  'st', 'processing', 'ready', stamp, 'picked', stamp, 'left', count, 'unready', '0', 'slots', count}
for _, p in ipairs(picks) do
  redis.call('ZADD', K.free(p.engine), p.free, p.instance)
  follow(p.engine, p.instance, p.free, p.host, p.zone)
  redis.call('SADD', K.held(p.instance), sid .. ' 1 ' .. p.name)
  redis.call('SADD', K.demand(p.engine), sid)
  local n = #dirty
  dirty[n + 1], dirty[n + 2], dirty[n + 3], dirty[n + 4] = p.name .. ':st', 'processing', p.name .. ':in', p.instance
  all[#all + 1] = p.name .. '=' .. p.instance
end
for _, p in ipairs(picks) do
  if string.find(',' .. ARGV[6] .. ',', ',' .. p.name .. ',', 1, true) then
    redis.call('XADD', K.commands(p.instance), '*', 't', 'start', 's', sid, 'a', '1', 'n', p.name,
      'p', ARGV[4], 'k', table.concat(all, ','), 'd', ARGV[7], 'g', '1')
  end
end
if ARGV[17] ~= '' then redis.call('SET', K.idempotency(ARGV[17]), sid .. ' ' .. ARGV[18], 'EX', '86400') end
if tenant ~= '' then
  dirty[#dirty + 1], dirty[#dirty + 2] = 'tenant', tenant
  redis.call('ZADD', K.tenant_sessions(tenant), stamp, sid)
  redis.call('ZADD', K.tenant_status(tenant, 'processing'), stamp, sid)
end
redis.call('ZADD', K.sessions(), stamp, sid)
redis.call('ZADD', K.status('processing'), stamp, sid)
if ARGV[12] ~= '0' then redis.call('ZADD', K.timers(), num(t + ARGV[12]), 'limit ' .. sid) end
redis.call('HSET', key, unpack(dirty))
redis.call('XADD', K.events(sid), '*', 'a', '1', 'k', 'session', 'st', 'pending', 'k', 'session', 'st', 'queuing',
  'k', 'session', 'st', 'processing')
return {'created', sid, 'processing', -1, 0, 0}
