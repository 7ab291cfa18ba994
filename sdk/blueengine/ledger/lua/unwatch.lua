-- unwatch: nobody at this gateway follows the session any more.
-- include: base session
-- ARGV  1 session  2 gateway
-- answer: 1 | 0 when it was not in the list
local S = load(ARGV[1])
if not S or not S.follow then return 0 end
local left, found = {}, 0
for _, g in ipairs(split(S.follow)) do
  if g == ARGV[2] then found = 1 else left[#left + 1] = g end
end
if found == 1 then redis.call('HSET', S.key, 'follow', table.concat(left, ',')) end
return found
