-- log: what an engine wrote about a session goes into its log; the oldest lines make room.
-- include: base session
-- ARGV  1 session  2 attempt  3 node  4 lines that the node wrote before  5… time, level, text of each
-- answer: "ok" | "stale"
local field = ARGV[3] .. ':logged'  -- "<attempt> <lines>"
local S = load(ARGV[1], field)
if not S or tonumber(ARGV[2]) > S.at then return 'stale' end
local attempt, count = string.match(get(S, field) or '0 0', '^(%d+) (%d+)$')
attempt, count = tonumber(attempt), tonumber(count)
if tonumber(ARGV[2]) < attempt then return 'stale' end
if tonumber(ARGV[2]) > attempt then count = 0 end
local number = tonumber(ARGV[4])
for i = 5, #ARGV, 3 do
  if number >= count then
    redis.call('XADD', K.logs(S.id), 'MAXLEN', '~', 1000, '*',
      'a', ARGV[2], 'n', ARGV[3], 't', ARGV[i], 'l', ARGV[i + 1], 'm', ARGV[i + 2])
  end
  number = number + 1
end
if number > count then put(S, field, ARGV[2] .. ' ' .. number) end
save(S)
local there = poke(S, S.follow)
if there then redis.call('HSET', S.key, 'follow', there) end
return 'ok'
