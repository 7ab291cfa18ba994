-- attend: an instance advertises itself; from now on it may be given sessions.
-- include: base session offer
-- ARGV  1 instance  2 engine  3 concurrency  4 spec (JSON)  5 heartbeat timeout, microseconds
--       6… more fields of the record: name, value, …
-- answer: "ok"
local instance, engine, t = ARGV[1], ARGV[2], now()
if redis.call('HGET', K.engine(engine), 'spec') ~= ARGV[4] then
  redis.call('HSET', K.engine(engine), 'spec', ARGV[4], 'concurrency', ARGV[3])
  redis.call('INCR', K.specs())
end
redis.call('SADD', K.engines(), engine)
if redis.call('EXISTS', K.instance(instance)) == 0 then
  redis.call('SADD', K.instances(engine), instance)
  redis.call('HSET', K.instance(instance), 'engine', engine, 'concurrency', ARGV[3], 'state', 'attending',
    'since', num(t), unpack(ARGV, 6))
  offer(engine, instance, ARGV[3])
  -- an empty stream of commands: other instances write to it only while it is there
  redis.call('XADD', K.commands(instance), 'MAXLEN', '0', '*', 't', 'none')
end
redis.call('PERSIST', K.inbox(instance))  -- made before the attendance, for a while
redis.call('ZADD', K.deadlines(), num(t + ARGV[5]), instance)
wake(engine)
return 'ok'
