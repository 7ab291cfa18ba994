-- reap: give up instances whose heartbeat is overdue. Deadlines count only while somebody was
-- watching and Redis was there to take the beats: after a gap everybody has one whole timeout to
-- come back, those too whose deadline had not quite passed.
-- include: base session release ending slots breaking bury
-- ARGV  1 at most so many  2 heartbeat timeout, microseconds
-- answer: instances given up
local t, timeout = now(), tonumber(ARGV[2])
local watched = tonumber(redis.call('HGET', K.watch(), 'reaped') or '0')
redis.call('HSET', K.watch(), 'reaped', num(t))
if t - watched > timeout / 2 then
  local soonest = num(t + timeout)
  local hurried
  repeat
    hurried = redis.call('ZRANGEBYSCORE', K.deadlines(), '-inf', '(' .. soonest, 'LIMIT', 0, 1000)
    for _, i in ipairs(hurried) do redis.call('ZADD', K.deadlines(), soonest, i) end
  until #hurried < 1000
  return {}
end
local late = redis.call('ZRANGEBYSCORE', K.deadlines(), '-inf', num(t), 'LIMIT', 0, ARGV[1])
for _, i in ipairs(late) do withdraw(i) end  -- none of them is given what another one held
for _, i in ipairs(late) do
  bury(i, t, 'instance-lost', 'the engine instance ' .. i .. ' stopped sending heartbeats')
end
return late
