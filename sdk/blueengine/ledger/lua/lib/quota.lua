-- Quotas: how many sessions of one tenant may run at the same time.
--
-- A session over its tenant's quota waits apart from the queue of the engine it needs, in
-- K.apart(tenant, engine), so that it is in nobody's way. While the tenant has room, one of those
-- that wait apart for an engine stands in the engine's own queue (its field `apart` is gone then); as
-- soon as it leaves that queue, the next one takes its place. So a session that ends moves at most one
-- other per engine that its tenant waits for, however many wait.

-- wake(engine): have management match it, if there are both free slots and somebody who waits.
-- Without any management wake-ups pile up to a bound; its sweep finds what was dropped.
local function wake(engine)
  if redis.call('ZCARD', K.waiting(engine)) > 0 then
    local best = redis.call('ZREVRANGE', K.free(engine), '0', '0', 'WITHSCORES')
    if best[2] and tonumber(best[2]) > 0 then redis.call('XADD', K.wake(), 'MAXLEN', '~', '10000', '*', 'e', engine) end
  end
end

-- room(tenant): how many more of its sessions may run; nil without a limit
local function room(tenant)  -- seldom
  local most = tonumber(redis.call('HGET', K.tenant(tenant), 'max_running') or '0')
  if most == 0 then return nil end
  for _, st in ipairs({'queuing', 'processing', 'stopping'}) do
    most = most - redis.call('ZCARD', K.tenant_status(tenant, st))
  end
  return most
end

-- over_quota(S): it must not run now; a session that is about to be queued again counts itself
local function over_quota(S)
  if not S.tenant then return false end
  local left = room(S.tenant)
  return left ~= nil and left + (S.was and S.was ~= 'pending' and 1 or 0) <= 0
end

-- recall(tenant, engine): let the first of those who wait apart stand in the engine's queue, when
-- there is room
local function recall(tenant, engine)  -- seldom
  local first = redis.call('ZRANGE', K.apart(tenant, engine), 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('SREM', K.apart_engines(tenant), engine)
    return
  end
  local left = room(tenant)
  if left and left <= 0 then return end
  redis.call('ZREM', K.apart(tenant, engine), first[1])
  redis.call('HDEL', K.session(first[1]), 'apart')
  redis.call('ZADD', K.waiting(engine), first[2], first[1])
  wake(engine)
end

-- recall_all(tenant): the same for every engine its sessions wait apart for
local function recall_all(tenant)  -- seldom
  for _, engine in ipairs(redis.call('SMEMBERS', K.apart_engines(tenant))) do recall(tenant, engine) end
end
