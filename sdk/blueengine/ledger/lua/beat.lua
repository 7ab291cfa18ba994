-- beat: an instance is alive.
-- include: base
-- ARGV  1 instance  2 heartbeat timeout, microseconds  3 number of this beat  4 the last one that was
--       answered
-- answer: {"ok" | "gone" (it was given up; what it still sends is ignored) | "forgot" (Redis does not know
--         the last beat that it has answered, nor whatever else it was told since), slots it holds}
local record, held = K.instance(ARGV[1]), redis.call('SCARD', K.held(ARGV[1]))
if redis.call('EXISTS', record) == 0 then return {'gone', held} end
local known = tonumber(redis.call('HGET', record, 'beat') or '0')
redis.call('PERSIST', K.inbox(ARGV[1]))  -- a late word of its making may still have come
redis.call('ZADD', K.deadlines(), num(now() + ARGV[2]), ARGV[1])
redis.call('HSET', record, 'beat', ARGV[3])
return {known < tonumber(ARGV[4]) and 'forgot' or 'ok', held}
