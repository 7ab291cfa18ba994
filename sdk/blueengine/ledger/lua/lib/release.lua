-- Slots: taken and given back exactly once. The truth is the set K.held(instance); the score in
-- K.free(engine) is kept equal to concurrency - SCARD(held) while the instance may take work, and
-- the session's field `slots` counts what it holds in all its attempts.
-- include: offer

local function slot(S, attempt, node) return S.id .. ' ' .. attempt .. ' ' .. node end

local function stop_timer(S, attempt, node, instance)
  return 'stop ' .. S.id .. ' ' .. attempt .. ' ' .. node .. ' ' .. instance
end

-- release(S, attempt, node, instance): give back the slot if it is still taken. It comes before
-- whatever else the script does with the part, so that a new attempt may have it at once.
local function release(S, attempt, node, instance)
  if redis.call('SREM', K.held(instance), slot(S, attempt, node)) == 0 then return end
  local engine = engine_of(S, node)
  local slots = redis.call('ZADD', K.free(engine), 'XX', 'INCR', '1', instance)
  if slots then
    follow_places(engine, instance, slots)
    wake(engine)
  end
  local member = S.at == attempt and demand_member(S, node) or old_demand_member(S, node, attempt)
  redis.call('SREM', K.demand(engine), member)
  if get(S, 'stops') then redis.call('ZREM', K.timers(), stop_timer(S, attempt, node, instance)) end
  S.slots = S.slots - 1
  put(S, 'slots', num(S.slots))
end
