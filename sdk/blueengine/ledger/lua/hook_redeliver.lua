-- hook_redeliver: have an event that was given up delivered again, in a queue of its own.
-- include: base outbox
-- ARGV  1 delivery  2 tenant
-- answer: "ok" | "unknown" | "retrying" | "delivered" (there is nothing to do)
local record = K.hook_delivery(ARGV[1])
local v = redis.call('HMGET', record, 'state', 'tenant', 'to', 'hook', 'event', 'body', 'session')
if not v[1] or v[2] ~= ARGV[2] then return 'unknown' end
if v[1] ~= 'dead' then return v[1] end
local queue, t = 'again~' .. ARGV[1], num(now())
redis.call('HSET', K.hook(queue), 'session', v[7], 'to', v[3], 'hook', v[4], 'since', t, 'once', '1', 'body', v[6] or '')
redis.call('RPUSH', K.hook_queue(queue), v[5])
redis.call('HSET', record, 'state', 'retrying', 'next', t)
redis.call('ZREM', K.hook_index(v[2], 'dead'), ARGV[1])
redis.call('ZADD', K.hook_index(v[2], 'retrying'), t, ARGV[1])
redis.call('ZADD', K.hook_due(v[3]), t, queue)
soonest(v[3])
redis.call('PUBLISH', K.hook_wake(), '1')
return 'ok'
