-- withdraw(instance): no more work for it; its engine, or nil when it is unknown
local function withdraw(instance)
  local engine = redis.call('HGET', K.instance(instance), 'engine')
  redis.call('ZREM', K.deadlines(), instance)
  if not engine then return end
  offer(engine, instance)
  redis.call('SREM', K.instances(engine), instance)
  redis.call('HDEL', K.engine(engine), 'ailing')
  return engine
end

-- bury(instance, t, code, message): an instance is gone; everything it held is given back
local function bury(instance, t, code, message)
  local engine = withdraw(instance)
  if not engine then return end
  local lost = {}
  for i, member in ipairs(redis.call('SMEMBERS', K.held(instance))) do
    local sid, attempt, node = string.match(member, '^(%S+) (%d+) (%S+)$')
    local order = tonumber(redis.call('HGET', K.session(sid), 'order') or '0')
    lost[i] = {sid = sid, attempt = tonumber(attempt), node = node, order = order}
  end
  -- those that are queued again may be placed at once: first in order first
  table.sort(lost, function(a, b)
    return a.order < b.order or a.order == b.order and a.node < b.node
  end)
  for _, part in ipairs(lost) do
    local S = load(part.sid)
    if S then
      release(S, part.attempt, part.node, instance)
      if S.at == part.attempt then
        local why = fault(code, message, {engine = engine, node = part.node, instance = instance})
        part_broke(S, t, part.node, why, true)
      end
      save(S)
    end
  end
  redis.call('DEL', K.instance(instance), K.held(instance), K.commands(instance), K.inbox(instance))
  retire(engine)
  redis.call('PUBLISH', K.scale(), engine)
end
