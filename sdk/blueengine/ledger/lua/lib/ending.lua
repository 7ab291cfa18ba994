-- The ways out of a session. Exactly one terminal status: only `settle` sets one, and the table
-- has no arrow out of it. Each function leaves the `save` to its caller.

-- holds(S, node): the node's slot of this attempt is taken
local function holds(S, node)
  local instance = get(S, node .. ':in')
  return instance and redis.call('SISMEMBER', K.held(instance), slot(S, S.at, node)) == 1
end

-- settle(S, t, event, fault): the terminal step; false when the table does not allow it
local function settle(S, t, what, why)
  if not advance(S, what) then return false end
  put(S, 'ended', num(t))
  put(S, 'input', '')
  local pushed = get(S, 'push')
  if pushed then
    redis.call('DEL', K.pushes(S.id))
    for _, c in ipairs(split(pushed)) do redis.call('DEL', K.pushed(S.id, c)) end
  end
  if why then put(S, 'fault', why) end
  if S.st ~= 'finished' then
    for _, n in ipairs(nodes(S)) do
      if not holds(S, n.name) then
        redis.call('SREM', K.demand(n.engine), demand_member(S, n.name))
        sub_advance(S, n.name, 'stopped')
      end
    end
  end
  if get(S, 'limit') ~= '0' then redis.call('ZREM', K.timers(), 'limit ' .. S.id) end
  redis.call('ZADD', K.expiry(), num(t + get(S, 'ttl')), S.id)
  return true
end

-- part_ended(S, t, node, event): one part has ended; the last one may end the session
local function part_ended(S, t, node, what)
  local st = sub_advance(S, node, what)
  if not st then return end
  put(S, node .. ':ended', num(t))
  event(S, 'k', 'part', 'n', node, 'st', st)
  S.left = S.left - 1
  put(S, 'left', num(S.left))
  if S.left == 0 then
    if S.st == 'stopping' then settle(S, t, 'all-stopped')
    elseif S.st == 'processing' and what ~= 'broke' then settle(S, t, 'all-finished') end
  end
end
