-- close: a node's part has ended; its slot is given back. The last part ends the session, and a
-- part that failed fails it.
-- include: base session release ending slots breaking results closing
-- ARGV  1 session  2 attempt  3 node  4 instance  5 "finished" | "failed" | "stopped"
--       6 fault (JSON) or ""  7 tally (JSON)  8 "1" when another attempt may help (a crash)
--       then its last results: 9 channel  10 sequence number of the first  11 how many  12… items; and so on
-- answer: the session's status | "stale"

-- A part that ends well in a session that is at work and followed by nobody, as most are, goes the short
-- way, which makes no more than it needs. It writes what close_any does (tests hold the two together).
local sid, attempt, node, instance, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[9]
local key = K.session(sid)
local st, at, part, holder, hooks, stops, push, follow, stored, left, slots, graph, tenant = unpack(redis.call('HMGET', key,
  'st', 'at', node .. ':st', node .. ':in', 'hooks', 'stops', 'push', 'follow', node .. ':o:' .. (channel or ''),
  'left', 'slots', 'nodes', 'tenant'))
local good = ARGV[5] == 'finished' and st == 'processing' and at == attempt and part == 'processing' and holder == instance
local watched = hooks or follow and follow ~= ''
-- no results, or the first of one channel, and no more than the stack has room for
local few = not channel or ARGV[10] == '0' and not stored and #ARGV > 11 and #ARGV < 1000 and #ARGV - 11 == tonumber(ARGV[11])
if not good or watched or stops or push or not few then return close_any() end
if redis.call('SREM', K.held(instance), sid .. ' ' .. attempt .. ' ' .. node) == 0 then return close_any() end

-- the slot
local engine, first = nil, {}
for name, of in string.gmatch(graph, '([^=,]+)=([^,]+)') do
  first[of] = first[of] or name
  if name == node then engine = of end
end
local free = redis.call('ZADD', K.free(engine), 'XX', 'INCR', '1', instance)
if free then
  follow_places(engine, instance, free)
  wake(engine)
end
redis.call('SREM', K.demand(engine), first[engine] == node and sid or sid .. '#' .. node)

-- the part, with its results, and the session when it was the last
local t, last = now(), left == '1'
local stamp = num(t)
local dirty = {node .. ':st', 'finished', node .. ':ended', stamp, node .. ':tally', ARGV[7],
  'left', num(left - 1), 'slots', num((slots or 0) - 1)}
local history, words = {'k', 'part', 'n', node, 'st', 'finished', 'k', 'session', 'st', 'finished'}, last and 10 or 6
local result, kept, wait, created, ttl, limit
if channel or last then
  result, kept, wait, created, ttl, limit = unpack(redis.call('HMGET', key, 'first', 'kept', 'wait', 'created', 'ttl', 'limit'))
end
if not channel then redis.call('XADD', K.events(sid), '*', 'a', attempt, unpack(history, 1, words))
else
  local count = redis.call('RPUSH', K.results(sid, channel), unpack(ARGV, 12))
  redis.call('XADD', K.events(sid), 'MAXLEN', '~', '10000', '*', 'a', attempt,
    'k', 'results', 'n', node, 'c', channel, 'count', num(count), unpack(history, 1, words))
  dirty[11], dirty[12] = node .. ':o:' .. channel, ARGV[11]
  if not result then dirty[13], dirty[14] = 'first', stamp end
end
if not last then
  redis.call('HSET', key, unpack(dirty))
  return 'processing'
end
redis.call('HSET', key, 'st', 'finished', 'ended', stamp, 'input', '', unpack(dirty))
redis.call('ZREM', K.status('processing'), sid)
redis.call('ZADD', K.status('finished'), created, sid)
if tenant then
  redis.call('ZREM', K.tenant_status(tenant, 'processing'), sid)
  redis.call('ZADD', K.tenant_status(tenant, 'finished'), created, sid)
  if redis.call('SCARD', K.apart_engines(tenant)) > 0 then recall_all(tenant) end
end
if limit ~= '0' then redis.call('ZREM', K.timers(), 'limit ' .. sid) end
redis.call('ZADD', K.expiry(), num(t + ttl), sid)
if wait and wait ~= '' then
  local told
  if not kept and not result then told = outcome_of(sid, ARGV, 9)
  elseif not kept then told = outcome_kept(sid, redis.call('HGET', key, 'stored')) end
  for gateway in string.gmatch(wait, '[^,]+') do redis.call('PUBLISH', K.poke(gateway), told or sid) end
end
return 'finished'
