-- ready: a node's instance accepts the session. The last one releases the input.
-- include: base session
-- ARGV  1 session  2 attempt  3 node  4 instance
-- answer: "go" (all are ready; the caller gets no Go command) | "wait" | "stale" (drop it)
local node = ARGV[3]
local S, t = load(ARGV[1], node .. ':st', 'fed'), now()
if not S or S.at ~= tonumber(ARGV[2]) then return 'stale' end
if not sub_advance(S, node, 'accepted') then
  -- the same report again, after a broken connection
  local st = get(S, node .. ':st')
  if st == 'ready' then return 'wait' elseif st == 'processing' then return 'go' end
  return 'stale'
end
put(S, node .. ':accepted', num(t))
S.unready = S.unready - 1
put(S, 'unready', S.unready)
if S.unready > 0 then
  save(S)
  return 'wait'
end
advance(S, 'all-ready')
put(S, 'ready', num(t))
for _, n in ipairs(nodes(S)) do sub_advance(S, n.name, 'released') end
for _, other in ipairs(split(get(S, 'fed'))) do
  if other ~= node then
    local instance = get(S, other .. ':in')
    redis.call('XADD', K.commands(instance), '*', 't', 'go', 's', S.id, 'a', S.at, 'n', other)
  end
end
save(S)
return 'go'
