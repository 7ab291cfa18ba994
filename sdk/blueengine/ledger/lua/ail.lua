-- ail: an instance whose workers crash again and again takes no new session, and says why; without
-- a reason it is well again.
-- include: base session release slots
-- ARGV  1 instance  2 reason or ""
-- answer: "ok" | "gone"
local instance, reason = ARGV[1], ARGV[2]
local record = redis.call('HMGET', K.instance(instance), 'engine', 'concurrency', 'state')
local engine = record[1]
if not engine then return 'gone' end
if reason ~= '' and record[3] == 'attending' then
  redis.call('HSET', K.instance(instance), 'state', 'ailing', 'reason', reason)
  redis.call('HSET', K.engine(engine), 'ailing', reason)
  offer(engine, instance)
  retire(engine)
elseif reason == '' and record[3] == 'ailing' then
  redis.call('HSET', K.instance(instance), 'state', 'attending')
  redis.call('HDEL', K.instance(instance), 'reason')
  redis.call('HDEL', K.engine(engine), 'ailing')
  offer(engine, instance, record[2] - redis.call('SCARD', K.held(instance)))
  wake(engine)
end
return 'ok'
