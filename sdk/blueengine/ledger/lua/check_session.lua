-- check_session: what of a session contradicts the indexes, queues and slots that follow from it.
-- include: base session release ending slots breaking findings
-- ARGV  1 "fix" to mend it, or ""  2 session
-- answer: findings, see lib/findings.lua
local S, t = load(ARGV[2]), now()
if not S then return findings end
local sid, pending, ended = S.id, S.st == 'pending', terminal(S)
local engines, slots = {}, 0

local function zset(key, wanted, code, text)
  if not in_zset(key, sid, wanted) and wrong(code, sid, text) then mend_zset(key, sid, wanted) end
end

-- the indexes
for _, st in ipairs(STATUSES) do
  local has = redis.call('ZSCORE', K.status(st), sid)
  if (st == S.st) ~= (has and true or false) and wrong('status-index', sid, 'it is ' .. S.st .. ', the index of ' .. st
      .. (has and ' has it' or ' has it not')) then
    if has then redis.call('ZREM', K.status(st), sid)
    else redis.call('ZADD', K.status(st), st == 'queuing' and num(t + get(S, 'start')) or score(S, st), sid) end
  end
  if S.tenant then
    local theirs = redis.call('ZSCORE', K.tenant_status(S.tenant, st), sid)
    if (st == S.st) ~= (theirs and true or false)
        and wrong('tenant-index', sid, 'it is ' .. S.st .. ', the index of ' .. st .. ' of its tenant ' .. (theirs and 'has it' or 'has it not')) then
      mend_zset(K.tenant_status(S.tenant, st), sid, not theirs and get(S, 'created') or nil)
    end
  end
end
if S.tenant then zset(K.tenant_sessions(S.tenant), get(S, 'created'), 'tenant-index', 'it is not in the list of its tenant') end
zset(K.sessions(), get(S, 'created'), 'session-index', 'it is not in the list of sessions')
local expires = redis.call('ZSCORE', K.expiry(), sid)
if ended and not expires and wrong('expiry', sid, 'it has ended and would be kept for ever') then
  redis.call('ZADD', K.expiry(), num(t + get(S, 'ttl')), sid)
elseif not ended and expires and wrong('expiry', sid, 'it is ' .. S.st .. ' and would be deleted') then
  redis.call('ZREM', K.expiry(), sid)
end
if get(S, 'limit') and get(S, 'limit') ~= '0' then
  local timer = redis.call('ZSCORE', K.timers(), 'limit ' .. sid)
  if not ended and not timer and wrong('limit-timer', sid, 'nobody watches its time limit') then
    redis.call('ZADD', K.timers(), num(get(S, 'created') + get(S, 'limit')), 'limit ' .. sid)
  end
end

-- the queues, the demand and the slots
local parked = get(S, 'parked') or ''
for _, n in ipairs(nodes(S)) do
  local member, held = demand_member(S, n.name), holds(S, n.name)
  if not engines[n.engine] then
    engines[n.engine] = true
    zset(K.pending_list(n.engine), pending and get(S, 'order') or nil, 'pending-key',
      'it is ' .. S.st .. ', and so it must ' .. (pending and '' or 'not ') .. 'count as pending for ' .. n.engine)
  end
  if held then slots = slots + 1 end
  for attempt = 1, S.at - 1 do
    slots = slots + redis.call('SISMEMBER', K.demand(n.engine), old_demand_member(S, n.name, attempt))
  end
  local counted, wanted = redis.call('SISMEMBER', K.demand(n.engine), member) == 1, pending or held
  if counted ~= (wanted and true or false)
      and wrong('demand-key', sid, 'the demand for ' .. n.engine .. ' counts ' .. member .. (wanted and ' not' or '')) then
    redis.call(wanted and 'SADD' or 'SREM', K.demand(n.engine), member)
  end
end
local apart = S.tenant and parked ~= '' and get(S, 'apart') == '1'
local queue = apart and K.apart(S.tenant, parked) or K.waiting(parked)
if pending and (parked == '' or not redis.call('ZSCORE', queue, sid))
    and wrong('queue', sid, 'it is pending and waits in no queue') then
  if parked == '' then parked = nodes(S)[1].engine end
  put(S, 'parked', parked)
  if apart then put(S, 'apart', '') end
  redis.call('ZADD', K.waiting(parked), get(S, 'order'), sid)
  wake(parked)
end
if S.slots ~= slots and wrong('slot-count', sid, 'it counts ' .. S.slots .. ' slots and holds ' .. slots) then
  S.slots = slots
  put(S, 'slots', slots)
end

-- the parts
local left = 0
for _, n in ipairs(nodes(S)) do
  local st = get(S, n.name .. ':st')
  if sub_arrow(st, 'broke') then
    left = left + 1
    if st ~= 'pending' and not holds(S, n.name) and not terminal(S)
        and wrong('part-without-slot', sid, n.name .. ' is ' .. st .. ', and no instance holds it') then
      if st == 'stopping' then part_ended(S, t, n.name, 'stopped')
      else
        part_broke(S, t, n.name, fault('lost', 'the platform lost track of it', {engine = n.engine, node = n.name}), true)
      end
      save(S)
      return findings  -- whatever else there is is seen at the next look, as it stands then
    end
  end
end
if not pending and not ended and S.left ~= left
    and wrong('parts-left', sid, 'it counts ' .. tostring(S.left) .. ' parts that have not ended, there are ' .. left) then
  S.left = left
  put(S, 'left', left)
  if left == 0 then settle(S, t, S.st == 'stopping' and 'all-stopped' or 'all-finished') end
end
if FIX and #findings > 0 then save(S) end
return findings
