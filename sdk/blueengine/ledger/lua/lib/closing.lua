-- The end of a part, whatever there is to it; close.lua says what the arguments are.

-- close_any(): answer: as close
local function close_any()  -- seldom
  local attempt, node, instance, outcome = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
  local S, t = load(ARGV[1], node .. ':st', node .. ':in', 'stops'), now()
  if not S then return 'stale' end
  release(S, attempt, node, instance)
  local st = get(S, node .. ':st')
  -- it ended already: the same report again
  if S.at == attempt and get(S, node .. ':in') == instance and sub_arrow(st, 'broke') then
    local why = ARGV[6]
    if outcome == 'finished' and not sub_arrow(st, 'finished') or outcome == 'stopped' and st ~= 'stopping' then
      -- nobody will do this part any more, so the session must not wait for it
      why = fault('out-of-turn', 'the engine ended its part (' .. outcome .. ') while it was ' .. st,
        {engine = engine_of(S, node), node = node, instance = instance})
      outcome = 'failed'
    end
    if S.left == 1 then fetch(S, 'created', 'wait', 'limit', 'ttl', 'first', 'push', 'kept') end
    local telling = S.left == 1 and get(S, 'wait') ~= '' and not get(S, 'push') and not get(S, 'kept')
    local all_here = telling and not get(S, 'first')
    local i = 9
    while ARGV[i] and not terminal(S) do
      local count = tonumber(ARGV[i + 2])
      keep_results(S, t, node, ARGV[i], tonumber(ARGV[i + 1]), i + 3, i + 2 + count)
      i = i + 3 + count
    end
    if outcome == 'failed' then part_broke(S, t, node, why, ARGV[8] == '1')
    else part_ended(S, t, node, outcome) end
    if S.at == attempt then put(S, node .. ':tally', ARGV[7]) end
    if telling and S.st == 'finished' then
      if all_here then S.outcome = outcome_of(S.id, ARGV, 9) else S.outcome = outcome_kept(S.id, get(S, 'stored')) end
    end
  end
  save(S)
  return S.st
end
