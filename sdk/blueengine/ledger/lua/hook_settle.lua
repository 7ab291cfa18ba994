-- hook_settle: a try to deliver an event is over. Delivered or dead, it leaves its queue and the next one
-- is due at once; else it is due again after a while.
-- include: base outbox
-- ARGV  1 queue  2 claim  3 "delivered" | "retry" | "dead" | "back" (was not tried)  4 microseconds until
--       the next try  5 this try (JSON) or ""  6 receiver  7 tenant  8 body, kept while it may be sent
--       again, or ""  9 "1" when the receiver wants no more events of this queue
--       10 seconds a record of what is delivered is kept  11 of what is not  12 records of each kind
-- answer: "ok" | "stale" (it was settled already, somebody else has claimed it since, or it is gone)
local queue, outcome, receiver, tenant, t = ARGV[1], ARGV[3], ARGV[6], ARGV[7], now()
local again = string.match(queue, '^again~(.*)$')  -- the queue it came from, when it is delivered again
local origin = again or queue
local v = redis.call('HMGET', K.hook(queue), 'claim', 'session', 'hook')
local event = redis.call('LINDEX', K.hook_queue(queue), 0)
if v[1] ~= ARGV[2] or not event then return 'stale' end
redis.call('HINCRBY', K.hook(queue), 'claim', 1)  -- said again, it must not settle the next event

local e = cjson.decode(event)
local record, state = K.hook_delivery(e.id), outcome == 'retry' and 'retrying' or outcome
if outcome ~= 'back' then
  local keep = outcome == 'delivered' and ARGV[10] or ARGV[11]
  redis.call('HSET', record, 'queue', origin, 'session', v[2], 'tenant', tenant, 'to', receiver, 'hook', v[3],
    'state', state, 'event', event, 'next', outcome == 'retry' and num(t + ARGV[4]) or '0')
  redis.call('HINCRBY', record, 'tries', 1)
  if outcome == 'delivered' then redis.call('HDEL', record, 'body')
  elseif ARGV[8] ~= '' then redis.call('HSET', record, 'body', ARGV[8]) end
  redis.call('RPUSH', K.hook_tries(e.id), ARGV[5])
  redis.call('LTRIM', K.hook_tries(e.id), -20, -1)
  redis.call('EXPIRE', record, keep)
  redis.call('EXPIRE', K.hook_tries(e.id), keep)
  for _, word in ipairs({'retrying', 'delivered', 'dead'}) do
    local index = K.hook_index(tenant, word)
    if word == state then
      redis.call('ZADD', index, num(t), e.id)
      redis.call('ZREMRANGEBYRANK', index, 0, -1 - ARGV[12])
    else redis.call('ZREM', index, e.id) end
  end
  redis.call('HINCRBY', K.hook_totals(), outcome, 1)
end

if outcome == 'delivered' or outcome == 'dead' then
  redis.call('LPOP', K.hook_queue(queue))
  redis.call('HDEL', K.hook(queue), 'tries', 'since', 'body')
  if redis.call('EXISTS', K.hook(origin)) == 1 then redis.call('HINCRBY', K.hook(origin), outcome, 1) end
  if ARGV[9] == '1' then redis.call('HSET', K.hook(queue), 'gone', '1') end
  if redis.call('EXISTS', K.hook_queue(queue)) == 1 then
    redis.call('ZADD', K.hook_due(receiver), num(t), queue)
  else
    redis.call('ZREM', K.hook_due(receiver), queue)
    -- kept for a while, so that who claimed an event of it is still known to have lost it
    if again then redis.call('EXPIRE', K.hook(queue), ARGV[11])
    else told_all(v[2]) end
  end
else
  if outcome == 'retry' then
    redis.call('HINCRBY', K.hook(queue), 'tries', 1)
    if ARGV[8] ~= '' then redis.call('HSET', K.hook(queue), 'body', ARGV[8]) end
  end
  redis.call('ZADD', K.hook_due(receiver), num(t + ARGV[4]), queue)
end
soonest(receiver)
return 'ok'
