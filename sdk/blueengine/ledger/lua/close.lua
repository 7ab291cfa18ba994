-- close: a node's part has ended; its slot is given back. The last part ends the session, and a
-- part that failed fails it.
-- include: base session slots ending
-- ARGV  1 session  2 attempt  3 node  4 instance  5 "finished" | "failed" | "stopped"
--       6 fault (JSON) or ""  7 tally (JSON)  8 "1" when another attempt may help (a crash)
-- answer: the session's status | "stale"
local S, t = load(ARGV[1]), now()
local attempt, node, instance, outcome = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
if not S then
  redis.call('SREM', K.held(instance), ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. node)
  return 'stale'
end
if S.at == attempt and get(S, node .. ':in') == instance then
  put(S, node .. ':tally', ARGV[7])
  if outcome ~= 'failed' then part_ended(S, t, node, outcome)
  elseif arrow(SUB_ARROWS, get(S, node .. ':st'), 'broke') then part_broke(S, t, node, ARGV[6], ARGV[8] == '1') end
end
release(S, attempt, node, instance)
save(S)
return S.st
