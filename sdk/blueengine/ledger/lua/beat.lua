-- beat: an instance is alive.
-- include: base
-- ARGV  1 instance  2 heartbeat timeout, microseconds
-- answer: "ok" | "gone" (it was given up; what it still sends is ignored)
if redis.call('EXISTS', K.instance(ARGV[1])) == 0 then return 'gone' end
redis.call('PERSIST', K.inbox(ARGV[1]))  -- a late word of its making may still have come
redis.call('ZADD', K.deadlines(), num(now() + ARGV[2]), ARGV[1])
return 'ok'
