-- Taking slots (lib/release.lua says what they are), and waiting for them.
--
-- Nobody starves: a session that free slots have passed by PATIENCE times, because it needs several
-- at once, becomes the elder (one at a time, in K.elder). What the elder needs of an engine is kept
-- free from those who come after it, until it is placed. It is no elder while an engine of its
-- cannot have enough slots at all, e.g. at zero instances.

local PATIENCE = 8

-- first_of(S, free, refused, count): the instance of an index of free slots that has the most, or (pack)
-- the fewest that are any, without those that refused this session
local function first_of(S, free, refused, count)
  local best
  if S.pack then best = redis.call('ZRANGEBYSCORE', free, '1', '+inf', 'LIMIT', '0', num(count + 1))
  else best = redis.call('ZREVRANGEBYSCORE', free, '+inf', '1', 'LIMIT', '0', num(count + 1)) end
  for _, instance in ipairs(best) do
    if not refused[instance] then return instance end
  end
end

-- first_near(S, engine, refused, count): the same at the place where the session is to be
local function first_near(S, engine, refused, count)  -- seldom
  local free = K.free_at(engine, S.place)
  while true do
    local instance = first_of(S, free, refused, count)
    if not instance then return end
    local slots = redis.call('ZSCORE', K.free(engine), instance)
    if slots and slots == redis.call('ZSCORE', free, instance) then return instance end
    if slots then redis.call('ZADD', free, slots, instance) else redis.call('ZREM', free, instance) end
  end
end

-- pick(S, engine): an instance with a free slot; one that refused this session only when there is no
-- other (a busy one is waited for, but not for ever)
local function pick(S, engine)
  local refused, count = {}, 0
  if S.refusers then
    for _, i in ipairs(split(S.refusers)) do refused[i], count = true, count + 1 end
  end
  local instance = S.place and first_near(S, engine, refused, count) or first_of(S, K.free(engine), refused, count)
  if instance or count == 0 then return instance end
  local best, other = redis.call('ZREVRANGE', K.free(engine), 0, count, 'WITHSCORES'), false
  for i = 1, #best, 2 do other = other or not refused[best[i]] end
  if best[2] and tonumber(best[2]) > 0 and (not other or number(S, 'missed') >= PATIENCE) then return best[1] end
end

-- needs(S): engine -> how many slots of it
local function needs(S)
  local out = {}
  for _, n in ipairs(nodes(S)) do out[n.engine] = (out[n.engine] or 0) + 1 end
  return out
end

-- possible(S): every engine has enough instances for it, were they idle
local function possible(S)  -- seldom
  for engine, wanted in pairs(needs(S)) do
    local each = tonumber(redis.call('HGET', K.engine(engine), 'concurrency') or '0')
    if each * redis.call('ZCARD', K.free(engine)) < wanted then return false end
  end
  return true
end

-- kept(S): an engine whose last free slots are kept for the elder, after S took its own
local function kept(S)
  local elder = redis.call('GET', K.elder())
  if not elder or elder == S.id then return end
  local E = load(elder)
  if not E or number(E, 'order') > number(S, 'order') or over_quota(E) then return end
  local wanted = needs(E)
  for _, n in ipairs(nodes(S)) do
    if wanted[n.engine] then
      local free, best = 0, redis.call('ZREVRANGE', K.free(n.engine), 0, wanted[n.engine] - 1, 'WITHSCORES')
      for i = 2, #best, 2 do free = free + tonumber(best[i]) end
      if free < wanted[n.engine] then return n.engine end
    end
  end
end

-- retire(engine): the engine has lost capacity; the elder may be waiting for what cannot come
local function retire(engine)  -- seldom
  local elder = redis.call('GET', K.elder())
  local E = elder and load(elder)
  if E and not possible(E) then
    redis.call('DEL', K.elder())
    for _, n in ipairs(nodes(E)) do wake(n.engine) end
  end
  wake(engine)  -- somebody may have waited for an instance that did not refuse it
end

-- missed(S): free slots pass this session by; true when that makes it impatient
local function missed(S)  -- seldom
  local times = number(S, 'missed') + 1
  if times <= PATIENCE and (#nodes(S) > 1 or S.refusers) then
    put(S, 'missed', times)
    if times == PATIENCE then return true end
  end
end

-- claim_elder(S): an impatient session becomes the elder, unless one is that comes before it
local function claim_elder(S)  -- seldom
  if number(S, 'missed') < PATIENCE or #nodes(S) == 1 then return end
  local elder = redis.call('GET', K.elder())
  local E = elder and load(elder)
  if E and number(E, 'order') <= number(S, 'order') or not possible(S) then return end
  redis.call('SET', K.elder(), S.id)
  if E then
    for _, n in ipairs(nodes(E)) do wake(n.engine) end
  end
end

-- behind(S): an engine whose queue holds somebody who comes before this session
local function behind(S)
  for _, n in ipairs(nodes(S)) do
    local front = redis.call('ZRANGE', K.waiting(n.engine), '0', '0', 'WITHSCORES')
    if front[2] and tonumber(front[2]) < number(S, 'order') then return n.engine end
  end
end

-- park(S, engine): wait in that engine's queue; whoever scales engines is told of all it needs
local function park(S, engine)  -- seldom
  S.parked = engine
  for _, n in ipairs(nodes(S)) do redis.call('PUBLISH', K.scale(), n.engine) end
end

-- park_apart(S, engine): wait until its tenant has fewer sessions running, then in that engine's queue
local function park_apart(S, engine)  -- seldom
  S.apart = true
  park(S, engine)
end

-- in_turn(S): places in the list of nodes, in the order in which they are given their slots. A session that
-- is to be near begins with the engine that has the fewest instances: the others find more to choose from.
local function in_turn(S)
  local turn, offered = {}, {}
  for i = 1, #nodes(S) do turn[i] = i end
  if S.near then
    for i, n in ipairs(S.nodes) do offered[i] = redis.call('ZCARD', K.free(n.engine)) end
    table.sort(turn, function(a, b) return offered[a] < offered[b] or offered[a] == offered[b] and a < b end)
  end
  return turn
end

-- take(S): a free slot of every engine, or none.
-- answer: the instances in the order of the nodes, and how many slots each has left; or nil, an engine
-- that lacks a slot, and whether it is only kept for another
local function take(S)
  local policy, near = string.match(get(S, 'placement') or '', '^(%l*),?(%l*)$')
  S.refusers, S.pack, S.near, S.place = get(S, 'refusers'), policy == 'pack', near ~= '' and near, nil
  local picks, left, lacking, for_elder = {}, {}, nil, false
  for _, i in ipairs(in_turn(S)) do
    local engine = S.nodes[i].engine
    local instance = pick(S, engine)
    if not instance then
      lacking = engine
      break
    end
    picks[i], left[instance] = instance, redis.call('ZINCRBY', K.free(engine), '-1', instance)
    if S.near and not S.place then
      local name = redis.call('HGET', K.instance(instance), S.near)
      if name then S.place = S.near .. '/' .. name else S.near = false end
    end
  end
  if not lacking then
    lacking = kept(S)
    for_elder = lacking ~= nil
  end
  if not lacking then return picks, left end
  for i, n in ipairs(S.nodes) do
    if picks[i] then
      local slots = redis.call('ZINCRBY', K.free(n.engine), 1, picks[i])
      if S.place then follow_places(n.engine, picks[i], slots) end
    end
  end
  return nil, lacking, for_elder
end

-- place(S, t): take a slot of every engine and send Start, or take none.
-- answer: nil when placed, else an engine that lacks a slot, and whether it is only kept for another
local function place(S, t)
  local picks, left, for_elder = take(S)
  if not picks then return left, for_elder end
  advance(S, 'placed')
  local text, eager, stamp = {}, {}, num(t)
  S.left, S.unready, S.slots = #S.nodes, 0, S.slots + #S.nodes
  for i, n in ipairs(S.nodes) do
    redis.call('SADD', K.held(picks[i]), slot(S, S.at, n.name))
    text[i] = n.name .. '=' .. picks[i]
    local record = redis.call('HMGET', K.instance(picks[i]), 'eager', 'host', 'zone')
    follow(n.engine, picks[i], left[picks[i]], record[2], record[3])
    -- an eager instance has nothing to prepare for a session: it is ready by being in attendance
    eager[i] = record[1] == '1'
    if not eager[i] then S.unready = S.unready + 1 end
  end
  if S.unready == 0 then
    advance(S, 'all-ready')
    put(S, 'ready', stamp)
  else
    S.start_due = num(t + get(S, 'start'))
  end
  for i, n in ipairs(S.nodes) do
    put(S, n.name .. ':st', S.unready == 0 and 'processing' or eager[i] and 'ready' or 'starting')
    put(S, n.name .. ':in', picks[i])
  end
  put(S, 'left', num(S.left))
  put(S, 'unready', num(S.unready))
  put(S, 'slots', num(S.slots))
  put(S, 'picked', stamp)
  if number(S, 'missed') > 0 then put(S, 'missed', '0') end
  local fed = ',' .. get(S, 'fed') .. ','
  local all = table.concat(text, ',')
  for i, n in ipairs(S.nodes) do
    local told = string.find(fed, ',' .. n.name .. ',', 1, true)
    -- where nobody has to prepare, those the client does not feed hear of it by their first message
    if told or S.unready > 0 then
      redis.call('XADD', K.commands(picks[i]), '*', 't', 'start', 's', S.id, 'a', num(S.at), 'n', n.name,
        'p', get(S, 'plan'), 'k', all, 'd', told and get(S, 'input') or '', 'g', S.unready == 0 and '1' or '0')
    end
  end
end

-- place_first(S, t, engine): place those who come before S and wait for another of its engines than
-- this one, as far as they can be (their wake-up is still on its way); how many were placed
local function place_first(S, t, engine)  -- seldom
  local placed, seen = 0, {[engine] = true}
  for _, n in ipairs(nodes(S)) do
    if not seen[n.engine] then
      seen[n.engine] = true
      local before = redis.call('ZRANGEBYSCORE', K.waiting(n.engine), '-inf', '(' .. get(S, 'order'), 'LIMIT', 0, 10)
      for _, sid in ipairs(before) do
        local other = load(sid)
        placed = placed + place_first(other, t, n.engine)
        if not over_quota(other) and not place(other, t) then
          save(other)
          placed = placed + 1
        end
      end
    end
  end
  return placed
end
