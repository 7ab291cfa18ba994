-- Storing a session, whatever there is to it; submit.lua says what the arguments are.

-- submit_any(): answer: as submit
local function submit_any()  -- seldom
  local sid, t = ARGV[1], now()
  local key = K.session(sid)

  local function answer(word, id, st)
    local before = redis.call('ZRANK', K.status('pending'), id)
    return {word, id, st, before or -1, redis.call('ZCARD', K.status('pending')), redis.call('ZCARD', K.status('queuing'))}
  end

  if ARGV[17] ~= '' then
    local known = redis.call('GET', K.idempotency(ARGV[17]))
    if known then
      local id, hash = string.match(known, '^(%S+) (%S+)$')
      if hash ~= ARGV[18] then return {'conflict'} end
      local st = redis.call('HGET', K.session(id), 'st')
      if st then return answer('exists', id, st) end
    end
  end
  local had = redis.call('HGET', key, 'st')
  if had then return answer('exists', sid, had) end
  if ARGV[9] ~= '-1' and ARGV[9] ~= (redis.call('GET', K.specs()) or '0') then return {'specs'} end
  local order = num(-tonumber(ARGV[3]) * 68719476736 + redis.call('INCR', K.order()))
  local tenant = ARGV[20] ~= '' and ARGV[20]
  local S = {id = sid, key = key, tenant = tenant, st = 'pending', at = 1, text = ARGV[5], slots = 0, dirty = {}, history = {'k', 'session', 'st', 'pending'},
    -- known here, so that the placement does not ask Redis for them
    fields = {plan = ARGV[4], fed = ARGV[6], input = ARGV[7], start = ARGV[11], order = order,
      created = num(t), parked = false, refusers = false, missed = false, placement = ARGV[23]}}
  S.dirty = {'at', '1', 'kind', ARGV[2], 'rank', ARGV[3], 'plan', ARGV[4], 'nodes', ARGV[5],
    'fed', ARGV[6], 'input', ARGV[7], 'stored', ARGV[8], 'wait', ARGV[10], 'start', ARGV[11], 'limit', ARGV[12],
    'ttl', ARGV[13], 'grace', ARGV[14], 'max', ARGV[15], 'labels', ARGV[16], 'order', order, 'created', num(t)}

  -- full(): who has as many pending sessions as there may be; only a session that must wait is asked
  local function full()
    local function over(index, most)
      most = tonumber(most or '0')
      return most > 0 and redis.call('ZCARD', index) >= most and num(most)
    end
    local most = over(K.status('pending'), ARGV[21])
    if most then return {'full', 'all', most} end
    most = tenant and over(K.tenant_status(tenant, 'pending'), redis.call('HGET', K.tenant(tenant), 'max_pending'))
    if most then return {'full', 'tenant', most} end
    for _, n in ipairs(nodes(S)) do
      most = over(K.pending_list(n.engine), ARGV[22])
      if most then return {'full', n.engine, most} end
    end
  end

  -- placed before anything is stored: what is turned away leaves nothing
  S.apart = over_quota(S)
  local lacking = S.apart and nodes(S)[1].engine or behind(S) or place(S, t)
  if lacking then
    local refusal = full()
    if refusal then return refusal end
    park(S, lacking)
    for _, n in ipairs(nodes(S)) do put(S, n.name .. ':st', 'pending') end
  end
  if ARGV[17] ~= '' then redis.call('SET', K.idempotency(ARGV[17]), sid .. ' ' .. ARGV[18], 'EX', 86400) end
  if tenant then
    put(S, 'tenant', tenant)
    redis.call('ZADD', K.tenant_sessions(tenant), num(t), sid)
  end
  for _, n in ipairs(nodes(S)) do
    redis.call('SADD', K.demand(n.engine), demand_member(S, n.name))
  end
  if ARGV[23] ~= '' then put(S, 'placement', ARGV[23]) end
  local kept_items, text, rest = {}, {}, 24
  if ARGV[19] ~= '' then
    S.hooks = ARGV[19]
    put(S, 'hooks', S.hooks)
    rest = enlist(S, rest)
  end
  for i = rest, #ARGV, 2 do kept_items[ARGV[i]] = redis.call('RPUSH', K.results(sid, ARGV[i]), ARGV[i + 1]) end
  for channel, count in pairs(kept_items) do text[#text + 1] = channel .. '=' .. count end
  if #text > 0 then put(S, 'kept', table.concat(text, ',')) end
  redis.call('ZADD', K.sessions(), num(t), sid)
  if ARGV[12] ~= '0' then redis.call('ZADD', K.timers(), num(t + ARGV[12]), 'limit ' .. sid) end
  save(S)
  if not lacking then return {'created', sid, S.st, -1, 0, 0} end
  return answer('created', sid, S.st)
end
