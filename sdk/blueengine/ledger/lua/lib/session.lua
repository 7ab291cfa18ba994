-- A session as one unit of work: `load` it, change it in memory by the tables, `save` it once.
-- `save` alone writes a session: its hash, the indexes that follow from its status, one entry of
-- its history, and the pokes to those who watch.
--
-- S.st, S.at, … are the fields every script needs; any other field goes through get and put.
-- S.long marks a step that may happen any number of times: the history is then kept from growing.
-- The loader puts the status tables into `arrow`, `sub_arrow` and `terminal`.
-- include: outbox quota

-- load(session, field, …): nil when there is none. The further fields are fetched with it.
local function load(sid, ...)
  local key, further = K.session(sid), {...}
  local v = redis.call('HMGET', key, 'st', 'at', 'nodes', 'left', 'unready', 'slots', 'follow', 'hooks', 'tenant', ...)
  if not v[1] then return nil end
  local fields = {}
  for i = 1, #further do fields[further[i]] = v[9 + i] end
  return {id = sid, key = key, st = v[1], was = v[1], at = tonumber(v[2]), text = v[3], left = tonumber(v[4]),
    unready = tonumber(v[5]), slots = tonumber(v[6] or '0'), follow = v[7], hooks = v[8], tenant = v[9], fields = fields, dirty = {}, history = {}}
end

-- fetch(S, field, …): get several fields at once
local function fetch(S, ...)
  local wanted = {...}
  local v = redis.call('HMGET', S.key, ...)
  for i = 1, #wanted do S.fields[wanted[i]] = v[i] end
end

local function get(S, field)
  local v = S.fields[field]
  if v == nil then
    v = redis.call('HGET', S.key, field)
    S.fields[field] = v
  end
  return v
end

local function number(S, field) return tonumber(get(S, field) or '0') end

local function put(S, field, value)
  local dirty = S.dirty
  local count = #dirty
  S.fields[field], dirty[count + 1], dirty[count + 2] = value, field, value
end

-- in_pieces(command, key, words): as many calls as Lua's stack needs; an even number of words each
local function in_pieces(command, key, words)
  if #words <= 4000 then redis.call(command, key, unpack(words))
  else
    for i = 1, #words, 4000 do redis.call(command, key, unpack(words, i, math.min(i + 3999, #words))) end
  end
end

-- nodes(S): list of {name, engine} in graph order
local function nodes(S)
  local list = S.nodes
  if not list then
    list = {}
    for name, engine in string.gmatch(S.text, '([^=,]+)=([^,]+)') do list[#list + 1] = {name = name, engine = engine} end
    S.nodes = list
  end
  return list
end

local function event(S, ...)
  local words, history = {...}, S.history
  local count = #history
  for i = 1, #words do history[count + i] = words[i] end
end

-- arrow(from, event): the status of a session after that; nil when the table does not allow it
local function arrow(from, what)
  -- arrows: TRANSITIONS
end

-- sub_arrow(from, event): the same of a node's part
local function sub_arrow(from, what)
  -- arrows: SUB_TRANSITIONS
end

local function terminal(S) return TERMINAL(S.st) end

-- advance(S, event): true when the table allows it; then the status has moved
local function advance(S, what)
  local to = arrow(S.st, what)
  if not to then return false end
  S.st = to
  event(S, 'k', 'session', 'st', to)
  return true
end

-- sub_advance(S, node, event): the new status of the node's part, or nil when not allowed
local function sub_advance(S, node, what)
  local to = sub_arrow(get(S, node .. ':st'), what)
  if to then put(S, node .. ':st', to) end
  return to
end

local function engine_of(S, node)
  for _, n in ipairs(nodes(S)) do if n.name == node then return n.engine end end
end

-- The first node of an engine counts under the session's id, a further one under "id#node":
-- so a session counts once, and an engine that stands twice in a graph wants two slots.
-- A slot that an earlier attempt still holds counts beside them, under "id#node@attempt".
local function demand_member(S, node)
  local list = nodes(S)
  if list[1].name == node then return S.id end
  local engine = engine_of(S, node)
  for _, n in ipairs(list) do
    if n.engine == engine then
      if n.name == node then return S.id end
      return S.id .. '#' .. node
    end
  end
end

local function old_demand_member(S, node, attempt) return S.id .. '#' .. node .. '@' .. attempt end

-- poke(S, gateways, told): have these look again, or tell them what they would see; those of them
-- that are there, or nil when all are
local function poke(S, gateways, told)
  if not gateways or gateways == '' then return end
  local there, gone = {}, false
  for _, g in ipairs(split(gateways)) do
    if redis.call('PUBLISH', K.poke(g), told or S.id) > 0 then there[#there + 1] = g else gone = true end
  end
  if gone then return table.concat(there, ',') end
end

-- score of a session in the index of a status
local function score(S, st)
  if st == 'pending' then return get(S, 'order') end
  if st == 'queuing' then return S.start_due end  -- the index is the timer of the start, too
  return get(S, 'created')
end

-- save_queue(S): put the session into the queue it is parked in, take it out of the one it was in
local function save_queue(S)  -- seldom
  local was_in = get(S, 'parked') or ''
  local now_in = S.st ~= 'pending' and '' or S.parked or was_in
  local was_apart = S.tenant and was_in ~= '' and get(S, 'apart') == '1'
  local apart = was_apart
  if S.parked or now_in == '' then apart = S.apart and now_in ~= '' end
  if now_in == was_in and not apart == not was_apart then return end
  if was_apart then
    redis.call('ZREM', K.apart(S.tenant, was_in), S.id)
    put(S, 'apart', '')
  elseif was_in ~= '' then
    redis.call('ZREM', K.waiting(was_in), S.id)
    if S.tenant and not apart then recall(S.tenant, was_in) end
  end
  put(S, 'parked', now_in)
  if apart then
    redis.call('ZADD', K.apart(S.tenant, now_in), get(S, 'order'), S.id)
    redis.call('SADD', K.apart_engines(S.tenant), now_in)
    put(S, 'apart', '1')
  elseif now_in ~= '' then
    redis.call('ZADD', K.waiting(now_in), get(S, 'order'), S.id)
    wake(now_in)  -- what made it park may be over by the end of this script
  end
  if (apart or now_in == '') and redis.call('GET', K.elder()) == S.id then
    -- what was kept free for it is there for all again
    redis.call('DEL', K.elder())
    for _, n in ipairs(nodes(S)) do wake(n.engine) end
  end
end

local function save(S)
  if S.st ~= S.was or S.start_due then
    if S.was and S.was ~= S.st then redis.call('ZREM', K.status(S.was), S.id) end
    redis.call('ZADD', K.status(S.st), score(S, S.st), S.id)
    if S.tenant and S.st ~= S.was then
      if S.was then redis.call('ZREM', K.tenant_status(S.tenant, S.was), S.id) end
      redis.call('ZADD', K.tenant_status(S.tenant, S.st), get(S, 'created'), S.id)
    end
    if S.st == 'pending' then
      for _, n in ipairs(nodes(S)) do redis.call('ZADD', K.pending_list(n.engine), get(S, 'order'), S.id) end
    elseif S.was == 'pending' then
      for _, n in ipairs(nodes(S)) do redis.call('ZREM', K.pending_list(n.engine), S.id) end
    end
    put(S, 'st', S.st)
  end
  if S.st == 'pending' or S.was == 'pending' then save_queue(S) end
  if S.tenant and S.was and S.was ~= 'pending' and (S.st == 'pending' or terminal(S)) then recall_all(S.tenant) end
  if #S.dirty > 0 then in_pieces('HSET', S.key, S.dirty) end
  if #S.history > 0 then
    if S.long then redis.call('XADD', K.events(S.id), 'MAXLEN', '~', '10000', '*', 'a', num(S.at), unpack(S.history))
    else redis.call('XADD', K.events(S.id), '*', 'a', num(S.at), unpack(S.history)) end
    local there = poke(S, S.follow)
    if there then redis.call('HSET', S.key, 'follow', there) end
  end
  if S.hooks then fire(S, nodes(S), terminal(S)) end
  if S.st ~= S.was and terminal(S) then poke(S, get(S, 'wait'), S.outcome) end
  S.was, S.parked, S.apart, S.start_due, S.dirty, S.history = S.st, nil, nil, nil, {}, {}
end
