-- check_members: members of an index, queue or demand key that stand there for nothing.
-- include: base session release ending findings
-- ARGV  1 "fix" to mend it, or ""
--       2 "status" | "waiting" | "pending" | "demand" | "expiry" | "sessions" | "timers" | "elder"
--         | "free" | "place" | "instances" | "deadlines"
--       3 the status, the engine, "engine place", or ""  4… members
-- answer: findings, see lib/findings.lua
local kind, of = ARGV[2], ARGV[3]

local function needs_engine(S)
  for _, n in ipairs(nodes(S)) do if n.engine == of then return true end end
end

-- a member of a demand key is "session", "session#node" or "session#node@attempt"
local function in_demand(member)
  local sid, node, attempt = string.match(member, '^([^#]+)#(.-)@(%d+)$')
  if not sid then sid, node = string.match(member, '^([^#]+)#(.+)$') end
  local S = load(sid or member)
  if not S then return false end
  if attempt then
    for _, instance in ipairs(redis.call('SMEMBERS', K.instances(of))) do
      if redis.call('SISMEMBER', K.held(instance), slot(S, attempt, node)) == 1 then return true end
    end
    return false
  end
  for _, n in ipairs(nodes(S)) do
    if n.engine == of and demand_member(S, n.name) == member then return S.st == 'pending' or holds(S, n.name) end
  end
  return false
end

local justified = {
  status = function(sid) local S = load(sid); return S and S.st == of end,
  waiting = function(sid) local S = load(sid); return S and S.st == 'pending' and get(S, 'parked') == of and get(S, 'apart') ~= '1' end,
  pending = function(sid) local S = load(sid); return S and S.st == 'pending' and needs_engine(S) end,
  elder = function(sid) local S = load(sid); return S and S.st == 'pending' end,
  expiry = function(sid) local S = load(sid); return S and terminal(S) end,
  sessions = function(sid) return redis.call('EXISTS', K.session(sid)) == 1 end,
  demand = in_demand,
  timers = function(timer)
    local what, sid, attempt, node, instance = string.match(timer, '^(%S+) (%S+) ?(%S*) ?(%S*) ?(%S*)$')
    local S = sid and load(sid)
    if not S then return false end
    if what == 'stop' then return redis.call('SISMEMBER', K.held(instance), slot(S, attempt, node)) == 1 end
    return what ~= 'limit' or not terminal(S)
  end,
  free = function(instance)
    local v = redis.call('HMGET', K.instance(instance), 'engine', 'state')
    return v[1] == of and v[2] == 'attending'
  end,
  place = function(instance)
    local engine, kind, name = string.match(of, '^(%S+) (%l+)/(%S+)$')
    return redis.call('ZSCORE', K.free(engine), instance) and redis.call('HGET', K.instance(instance), kind) == name
  end,
  instances = function(instance) return redis.call('HGET', K.instance(instance), 'engine') == of end,
  deadlines = function(instance) return redis.call('EXISTS', K.instance(instance)) == 1 end,
}
local keys = {
  status = function() return K.status(of), 'ZREM' end,
  waiting = function() return K.waiting(of), 'ZREM' end,
  pending = function() return K.pending_list(of), 'ZREM' end,
  demand = function() return K.demand(of), 'SREM' end,
  expiry = function() return K.expiry(), 'ZREM' end,
  sessions = function() return K.sessions(), 'ZREM' end,
  timers = function() return K.timers(), 'ZREM' end,
  elder = function() return K.elder(), 'DEL' end,
  free = function() return K.free(of), 'ZREM' end,
  place = function()
    local engine, place = string.match(of, '^(%S+) (%S+)$')
    return K.free_at(engine, place), 'ZREM'
  end,
  instances = function() return K.instances(of), 'SREM' end,
  deadlines = function() return K.deadlines(), 'ZREM' end,
}
local key, remove = keys[kind]()
local present = {
  ZREM = function(member) return redis.call('ZSCORE', key, member) end,
  SREM = function(member) return redis.call('SISMEMBER', key, member) == 1 end,
  DEL = function(member) return redis.call('GET', key) == member end,
}
for i = 4, #ARGV do
  local member = ARGV[i]
  if present[remove](member) and not justified[kind](member)
      and wrong('left-over', member, 'it stands in ' .. key .. ' for nothing') then
    if remove == 'DEL' then redis.call('DEL', key) else redis.call(remove, key, member) end
  end
end
return findings
