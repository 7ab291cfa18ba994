-- match: give an engine's free slots to the sessions parked on it, first in order first.
-- include: base session slots
-- ARGV  1 engine  2 at most so many sessions
-- answer: how many were placed. What is left over wakes management again.
local engine, placed, at, t = ARGV[1], 0, 0, now()
for _ = 1, tonumber(ARGV[2]) do
  local best = redis.call('ZREVRANGE', K.free(engine), 0, 0, 'WITHSCORES')
  local sid = redis.call('ZRANGE', K.waiting(engine), at, at)[1]
  if not sid or not best[2] or tonumber(best[2]) <= 0 then return placed end
  local S = load(sid)
  if not S or S.st ~= 'pending' then
    redis.call('ZREM', K.waiting(engine), sid)
  else
    local lacking = place(S, t)
    if not lacking then placed = placed + 1
    elseif lacking == engine then at = at + 1  -- it needs more of this engine than there is now
    else park(S, lacking) end
    save(S)
  end
end
if at == 0 then wake(engine) end
return placed
