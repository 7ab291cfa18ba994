-- check_keys: keys of sessions and instances that are not there.
-- include: base findings
-- ARGV  1 "fix" to mend it, or ""  then pairs: the key of a session or instance, a key that goes with it
-- answer: findings, see lib/findings.lua
for i = 2, #ARGV, 2 do
  local owner, key = ARGV[i], ARGV[i + 1]
  -- an inbox is made just before its instance, and goes by itself when that never comes
  if redis.call('EXISTS', owner) == 0 and redis.call('EXISTS', key) == 1 and redis.call('TTL', key) == -1
      and wrong('orphan', key, 'there is no ' .. owner .. ' any more') then
    redis.call('DEL', key)
  end
end
return findings
