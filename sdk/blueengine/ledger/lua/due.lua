-- due: act on timers that ran out: engines that never became ready, sessions over their limit,
-- engines that ignore Stop.
-- include: base session release ending slots breaking
-- ARGV  1 at most so many
-- answer: {timers acted on, microseconds until the next one (heartbeats included) or -1}
local t, acted, most = now(), 0, tonumber(ARGV[1])

for _, sid in ipairs(redis.call('ZRANGEBYSCORE', K.status('queuing'), '-inf', num(t), 'LIMIT', 0, most)) do
  local S = load(sid)
  local late = nodes(S)[1]
  for _, n in ipairs(nodes(S)) do
    if get(S, n.name .. ':st') == 'starting' then
      late = n
      break
    end
  end
  local why = fault('start-timeout', 'engine ' .. late.engine .. ' was not ready in time', {engine = late.engine,
    node = late.name, instance = get(S, late.name .. ':in') or nil})
  send_stops(S, t, 'not ready in time')
  part_broke(S, t, late.name, why, true)
  save(S)
  acted = acted + 1
end

for _, timer in ipairs(redis.call('ZRANGEBYSCORE', K.timers(), '-inf', num(t), 'LIMIT', 0, most)) do
  redis.call('ZREM', K.timers(), timer)
  acted = acted + 1
  local kind, sid, rest = string.match(timer, '^(%S+) (%S+) ?(.*)$')
  local S = load(sid)
  if S and kind == 'limit' and not terminal(S) and S.st ~= 'stopping' then
    send_stops(S, t, 'the session ran over its time limit')
    settle(S, t, 'broke', fault('timeout', 'the session did not end within its timeoutSecond'))
    save(S)
  elseif S and kind == 'stop' then
    local attempt, node, instance = string.match(rest, '^(%d+) (%S+) (%S+)$')
    attempt = tonumber(attempt)
    release(S, attempt, node, instance)
    if S.at == attempt then part_ended(S, t, node, 'stopped') end
    save(S)
  end
end

local soonest = -1
for _, index in ipairs({K.timers(), K.status('queuing'), K.deadlines()}) do
  local at = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')[2]
  if at then
    local wait = math.max(0, at - t)
    if soonest < 0 or wait < soonest then soonest = wait end
  end
end
return {acted, soonest}
