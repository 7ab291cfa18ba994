-- bury(instance, t, code, message): an instance is gone; everything it held is given back
local function bury(instance, t, code, message)
  local engine = redis.call('HGET', K.instance(instance), 'engine')
  redis.call('ZREM', K.deadlines(), instance)
  if not engine then return end
  redis.call('ZREM', K.free(engine), instance)
  redis.call('SREM', K.instances(engine), instance)
  for _, member in ipairs(redis.call('SMEMBERS', K.held(instance))) do
    local sid, attempt, node = string.match(member, '^(%S+) (%d+) (%S+)$')
    local S = load(sid)
    if S then
      attempt = tonumber(attempt)
      -- broken first, given back after: the slot's demand must not go while the session goes on
      if S.at == attempt then
        local why = fault(code, message, {engine = engine, node = node, instance = instance})
        part_broke(S, t, node, why, true)
      end
      release(S, attempt, node, instance)
      save(S)
    end
  end
  redis.call('DEL', K.instance(instance), K.held(instance), K.commands(instance), K.inbox(instance))
  redis.call('PUBLISH', K.scale(), engine)
end
