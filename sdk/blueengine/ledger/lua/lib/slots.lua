-- Slots: taken and given back exactly once. The truth is the set K.held(instance); the score in
-- K.free(engine) is kept equal to concurrency - SCARD(held) while the instance may take work.

local function wake(engine)
  if redis.call('ZCARD', K.waiting(engine)) > 0 then
    local best = redis.call('ZREVRANGE', K.free(engine), 0, 0, 'WITHSCORES')
    if best[2] and tonumber(best[2]) > 0 then redis.call('XADD', K.wake(), '*', 'e', engine) end
  end
end

local function slot(S, attempt, node) return S.id .. ' ' .. attempt .. ' ' .. node end

local function stop_timer(S, attempt, node, instance)
  return 'stop ' .. S.id .. ' ' .. attempt .. ' ' .. node .. ' ' .. instance
end

-- release(S, attempt, node, instance): give back the slot if it is still taken
local function release(S, attempt, node, instance)
  if redis.call('SREM', K.held(instance), slot(S, attempt, node)) == 0 then return end
  local engine = engine_of(S, node)
  if redis.call('ZSCORE', K.free(engine), instance) then
    redis.call('ZINCRBY', K.free(engine), 1, instance)
    wake(engine)
  end
  if terminal(S) or S.at == attempt then
    redis.call('SREM', K.demand(engine), demand_member(S, node))
  end
  if get(S, 'stops') then redis.call('ZREM', K.timers(), stop_timer(S, attempt, node, instance)) end
end

-- pick(S, engine): the instance with the most free slots; one that refused this session only when
-- there is no other
local function pick(S, engine)
  local refused, count = {}, 0
  if S.refusers then
    for _, i in ipairs(split(S.refusers)) do refused[i], count = true, count + 1 end
  end
  local best = redis.call('ZREVRANGE', K.free(engine), 0, count, 'WITHSCORES')
  for i = 1, #best, 2 do
    if tonumber(best[i + 1]) > 0 and not refused[best[i]] then return best[i] end
  end
  if best[2] and tonumber(best[2]) > 0 then return best[1] end
end

-- park(S, engine): wait in that engine's queue; whoever scales engines is told of all it needs
local function park(S, engine)
  S.parked = engine
  for _, n in ipairs(nodes(S)) do redis.call('PUBLISH', K.scale(), n.engine) end
end

-- place(S, t): take a slot of every engine and send Start, or take none.
-- answer: nil when placed, else an engine that lacks a slot
local function place(S, t)
  S.refusers = get(S, 'refusers')
  local picks = {}
  for i, n in ipairs(nodes(S)) do
    local instance = pick(S, n.engine)
    if not instance then
      for j = 1, i - 1 do redis.call('ZINCRBY', K.free(S.nodes[j].engine), 1, picks[j]) end
      return n.engine
    end
    redis.call('ZINCRBY', K.free(n.engine), -1, instance)
    picks[i] = instance
  end
  advance(S, 'placed')
  local text, stamp = {}, num(t)
  for i, n in ipairs(S.nodes) do
    redis.call('SADD', K.held(picks[i]), slot(S, S.at, n.name))
    text[i] = n.name .. '=' .. picks[i]
    put(S, n.name .. ':st', 'starting')
    put(S, n.name .. ':in', picks[i])
  end
  S.left, S.unready = #S.nodes, #S.nodes
  put(S, 'left', S.left)
  put(S, 'unready', S.unready)
  put(S, 'picked', stamp)
  local fed = ',' .. get(S, 'fed') .. ','
  local all = table.concat(text, ',')
  for i, n in ipairs(S.nodes) do
    local input = ''
    if string.find(fed, ',' .. n.name .. ',', 1, true) then input = get(S, 'input') end
    redis.call('XADD', K.commands(picks[i]), '*', 't', 'start', 's', S.id, 'a', S.at, 'n', n.name,
      'p', get(S, 'plan'), 'k', all, 'd', input)
  end
  S.start_due = num(t + get(S, 'start'))
end
