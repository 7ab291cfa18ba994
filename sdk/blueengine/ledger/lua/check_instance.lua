-- check_instance: what of an instance contradicts the slots it holds and the indexes it is in.
-- include: base session release findings
-- ARGV  1 "fix" to mend it, or ""  2 instance  3 heartbeat timeout, microseconds
-- answer: findings, see lib/findings.lua
local instance, t = ARGV[2], now()
local record = redis.call('HMGET', K.instance(instance), 'engine', 'concurrency', 'state')
local engine = record[1]
if not engine then return findings end
if redis.call('SISMEMBER', K.instances(engine), instance) == 0
    and wrong('attendance', instance, 'it has a record and is not in attendance of ' .. engine) then
  redis.call('SADD', K.instances(engine), instance)
end
if not redis.call('ZSCORE', K.deadlines(), instance) and wrong('heartbeat', instance, 'nobody watches its heartbeat') then
  redis.call('ZADD', K.deadlines(), num(t + ARGV[3]), instance)
end

for _, member in ipairs(redis.call('SMEMBERS', K.held(instance))) do
  local sid, attempt, node = string.match(member, '^(%S+) (%d+) (%S+)$')
  local S = sid and load(sid)
  attempt = tonumber(attempt)
  local mine = S and attempt == S.at and get(S, node .. ':in') == instance
  if not S or attempt > S.at or attempt == S.at and not mine then
    if wrong('slot', instance, 'it holds ' .. member .. ', which is nobody\'s') then redis.call('SREM', K.held(instance), member) end
  elseif mine and not sub_arrow(get(S, node .. ':st'), 'broke')
      and not redis.call('ZSCORE', K.timers(), stop_timer(S, attempt, node, instance)) then
    if wrong('slot', instance, 'it holds ' .. member .. ', which has ended') then
      release(S, attempt, node, instance)
      save(S)
    end
  else
    local counted = mine and demand_member(S, node) or old_demand_member(S, node, attempt)
    if redis.call('SISMEMBER', K.demand(engine), counted) == 0
        and wrong('demand-key', instance, 'it holds ' .. member .. ', which the demand for ' .. engine .. ' does not count') then
      redis.call('SADD', K.demand(engine), counted)
    end
    local timer = stop_timer(S, attempt, node, instance)
    if (not mine or get(S, node .. ':st') == 'stopping') and not redis.call('ZSCORE', K.timers(), timer)
        and wrong('stop-timer', instance, 'it was told to stop ' .. member .. ', and nobody watches whether it does') then
      redis.call('ZADD', K.timers(), num(t + get(S, 'grace')), timer)
      redis.call('HSET', S.key, 'stops', '1')
    end
  end
end

local wanted = record[3] == 'attending' and tonumber(record[2]) - redis.call('SCARD', K.held(instance)) or nil
if not in_zset(K.free(engine), instance, wanted)
    and wrong('free-slots', instance, 'it offers ' .. tostring(redis.call('ZSCORE', K.free(engine), instance)) .. ' slots of '
      .. engine .. ', and has ' .. tostring(wanted)) then
  offer(engine, instance, wanted)
  wake(engine)
end
local at = redis.call('HMGET', K.instance(instance), 'host', 'zone')
for i, kind in ipairs({'host', 'zone'}) do
  if at[i] and not in_zset(K.free_at(engine, kind .. '/' .. at[i]), instance, redis.call('ZSCORE', K.free(engine), instance) or nil)
      and wrong('place', instance, 'it offers other slots at its ' .. kind .. ' ' .. at[i] .. ' than it has') then
    follow_places(engine, instance, redis.call('ZSCORE', K.free(engine), instance))
  end
end
return findings
