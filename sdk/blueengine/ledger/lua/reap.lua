-- reap: give up instances whose heartbeat is overdue. Deadlines count only while somebody was
-- watching and Redis was there to take the beats: after a gap everybody gets one timeout more.
-- include: base session release ending slots breaking bury
-- ARGV  1 at most so many  2 heartbeat timeout, microseconds
-- answer: instances given up
local t, timeout = now(), tonumber(ARGV[2])
local watched = tonumber(redis.call('HGET', K.watch(), 'reaped') or '0')
redis.call('HSET', K.watch(), 'reaped', num(t))
local late = redis.call('ZRANGEBYSCORE', K.deadlines(), '-inf', num(t), 'LIMIT', 0, ARGV[1])
if t - watched > timeout / 2 then
  while #late > 0 do
    for _, i in ipairs(late) do redis.call('ZADD', K.deadlines(), num(t + timeout), i) end
    late = redis.call('ZRANGEBYSCORE', K.deadlines(), '-inf', num(t), 'LIMIT', 0, ARGV[1])
  end
  return {}
end
for _, i in ipairs(late) do withdraw(i) end  -- none of them is given what another one held
for _, i in ipairs(late) do
  bury(i, t, 'instance-lost', 'the engine instance ' .. i .. ' stopped sending heartbeats')
end
return late
