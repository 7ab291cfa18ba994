-- match: give an engine's free slots to the sessions parked on it, first in order first.
-- include: base session release slots
-- ARGV  1 engine  2 at most so many sessions
-- answer: how many were placed. What is left over wakes management again.
local engine, placed, at, done, t = ARGV[1], 0, 0, 0, now()
while done < tonumber(ARGV[2]) and at < 1000 do
  local best = redis.call('ZREVRANGE', K.free(engine), 0, 0, 'WITHSCORES')
  local sid = redis.call('ZRANGE', K.waiting(engine), at, at)[1]
  if not sid or not best[2] or tonumber(best[2]) <= 0 then return placed end
  local S = load(sid, 'refusers', 'placement')
  if not S or S.st ~= 'pending' then
    redis.call('ZREM', K.waiting(engine), sid)
    done = done + 1
  else
    local before = place_first(S, t, engine)
    placed, done = placed + before, done + before
    local apart = over_quota(S)  -- asked now: those before it may be of its tenant
    local lacking, for_elder
    if not apart then lacking, for_elder = place(S, t) end
    if lacking and not for_elder and missed(S) then lacking, for_elder = place(S, t) end
    if apart then
      park_apart(S, engine)
      done = done + 1
    elseif not lacking then placed, done = placed + 1, done + 1
    else
      if not for_elder then claim_elder(S) end
      if lacking == engine then at = at + 1  -- it needs more of this engine than there is now
      else
        park(S, lacking)
        done = done + 1
      end
    end
    save(S)
  end
end
if done > 0 then wake(engine) end
return placed
