-- refuse: an instance cannot take the session. It is queued again, not for that instance;
-- after too many refusals it fails with the last reason.
-- include: base session release ending slots breaking
-- ARGV  1 session  2 attempt  3 node  4 instance  5 fault (JSON)  6 refusals that fail the session
-- answer: "again" | "failed" | "stale"
local S, t = load(ARGV[1]), now()
local attempt, node, instance = tonumber(ARGV[2]), ARGV[3], ARGV[4]
if not S then return 'stale' end
release(S, attempt, node, instance)
local answer = 'stale'
if S.at ~= attempt or not sub_arrow(get(S, node .. ':st'), 'broke') then
  -- late: the same report again, or the session went on without it
elseif S.st == 'processing' then
  part_broke(S, t, node, ARGV[5], false)  -- it was taken for ready: too late to give it to another
  answer = 'failed'
elseif S.st ~= 'queuing' then
  part_ended(S, t, node, 'stopped')
else
  local refused = (tonumber(get(S, 'refused')) or 0) + 1
  put(S, 'refused', refused)
  if refused >= tonumber(ARGV[6]) then
    part_broke(S, t, node, ARGV[5], false)
    answer = 'failed'
  else
    local refusers = get(S, 'refusers')
    put(S, 'refusers', refusers and (refusers .. ',' .. instance) or instance)
    sub_advance(S, node, 'stopped')  -- it has no Stop to answer
    requeue(S, t, ARGV[5])
    answer = 'again'
  end
end
save(S)
return answer
