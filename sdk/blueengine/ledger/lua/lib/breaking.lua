-- When a part does not end well: the others are told to stop, and the session fails or begins again.

-- send_stops(S, t, why): tell every engine that is still at it to end its part
local function send_stops(S, t, why)
  for _, n in ipairs(nodes(S)) do
    if sub_advance(S, n.name, 'stop-sent') then
      local instance = get(S, n.name .. ':in')
      redis.call('XADD', K.commands(instance), '*', 't', 'stop', 's', S.id, 'a', S.at, 'n', n.name, 'w', why)
      redis.call('ZADD', K.timers(), num(t + get(S, 'grace')), stop_timer(S, S.at, n.name, instance))
      put(S, 'stops', '1')
    end
  end
end

-- drop_results(S): stored messages of the attempt go; stored start data stays ("kept": x=2,y=1)
local function drop_results(S)
  local kept_items = {}
  for channel, count in string.gmatch(get(S, 'kept') or '', '([^=,]+)=([^,]+)') do kept_items[channel] = count end
  for _, c in ipairs(split(get(S, 'stored'))) do
    if kept_items[c] then redis.call('LTRIM', K.results(S.id, c), 0, kept_items[c] - 1)
    else redis.call('DEL', K.results(S.id, c)) end
  end
end

-- requeue(S, t, why): begin again as a new attempt; what the old one made is dropped
local function requeue(S, t, why)  -- seldom
  send_stops(S, t, why)
  advance(S, 'requeued')
  local gone, stored = {'first', 'ready'}, split(get(S, 'stored'))
  for _, n in ipairs(nodes(S)) do
    if holds(S, n.name) then redis.call('SADD', K.demand(n.engine), old_demand_member(S, n.name, S.at)) end
    redis.call('SADD', K.demand(n.engine), demand_member(S, n.name))
    put(S, n.name .. ':st', 'pending')
    for _, f in ipairs({'in', 'accepted', 'ended', 'tally', 'fault', 'progress'}) do
      gone[#gone + 1] = n.name .. ':' .. f
    end
    for _, c in ipairs(stored) do gone[#gone + 1] = n.name .. ':o:' .. c end
  end
  S.at = S.at + 1
  put(S, 'at', S.at)
  put(S, 'requeued', why)
  in_pieces('HDEL', S.key, gone)
  local is_gone, dirty = {}, {}
  for _, f in ipairs(gone) do
    is_gone[f] = true
    S.fields[f] = nil
  end
  for i = 1, #S.dirty, 2 do
    if not is_gone[S.dirty[i]] then
      dirty[#dirty + 1] = S.dirty[i]
      dirty[#dirty + 1] = S.dirty[i + 1]
    end
  end
  S.dirty = dirty
  drop_results(S)
  if over_quota(S) then return park_apart(S, nodes(S)[1].engine) end
  local lacking = behind(S) or place(S, t)
  if lacking then park(S, lacking) end
end

-- part_broke(S, t, node, why, again): a part failed; the session fails, or is queued again when
-- `again` (the fault was not the engine's own word) and attempts are left (refused ones do not count)
local function part_broke(S, t, node, why, again)  -- seldom
  if terminal(S) or S.st == 'stopping' then
    part_ended(S, t, node, 'broke')
  elseif again and S.at - (tonumber(get(S, 'refused') or '0')) < tonumber(get(S, 'max')) then
    sub_advance(S, node, 'broke')  -- it has no Stop to answer
    requeue(S, t, why)
  else
    put(S, node .. ':fault', why)
    part_ended(S, t, node, 'broke')
    send_stops(S, t, 'another engine failed')
    settle(S, t, 'broke', why)
  end
end
