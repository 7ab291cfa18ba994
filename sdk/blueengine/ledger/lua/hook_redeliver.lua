-- hook_redeliver: have an event that was given up delivered again, behind others of its webhook that are
-- delivered again: these have a queue of their own, "again~<queue>".
-- include: base outbox
-- ARGV  1 delivery  2 tenant  3 seconds its record is kept
-- answer: "ok" | "unknown" | "retrying" | "delivered" (there is nothing to do)
local record, t = K.hook_delivery(ARGV[1]), num(now())
local v = redis.call('HMGET', record, 'state', 'tenant', 'to', 'hook', 'event', 'session', 'queue')
if not v[1] or v[2] ~= ARGV[2] then return 'unknown' end
if v[1] ~= 'dead' then return v[1] end
local queue = 'again~' .. v[7]
redis.call('HSET', K.hook(queue), 'session', v[6], 'to', v[3], 'hook', v[4])
redis.call('HDEL', K.hook(queue), 'gone')
redis.call('PERSIST', K.hook(queue))
redis.call('HSET', record, 'state', 'retrying', 'next', t, 'since', t)
redis.call('EXPIRE', record, ARGV[3])
redis.call('EXPIRE', K.hook_tries(ARGV[1]), ARGV[3])
redis.call('ZREM', K.hook_index(v[2], 'dead'), ARGV[1])
redis.call('ZADD', K.hook_index(v[2], 'retrying'), t, ARGV[1])
if redis.call('EXISTS', K.hook(v[7])) == 1 then redis.call('HINCRBY', K.hook(v[7]), 'dead', -1) end
if redis.call('RPUSH', K.hook_queue(queue), v[5]) == 1 then
  redis.call('ZADD', K.hook_due(v[3]), t, queue)
  soonest(v[3])
  redis.call('PUBLISH', K.hook_wake(), '1')
end
return 'ok'
