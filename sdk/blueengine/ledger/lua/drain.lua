-- drain: an instance takes no new session. With "idle" only when it holds none.
-- include: base session release slots
-- ARGV  1 instance  2 "always" | "idle"
-- answer: how many sessions it holds | -1 when it is busy and was asked only if idle | -2 unknown
local instance = ARGV[1]
local engine = redis.call('HGET', K.instance(instance), 'engine')
if not engine then return -2 end
local held = redis.call('SCARD', K.held(instance))
if ARGV[2] == 'idle' and held > 0 then return -1 end
offer(engine, instance)
redis.call('HSET', K.instance(instance), 'state', 'draining')
retire(engine)
return held
