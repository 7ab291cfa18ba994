-- taken: a node has consumed this many messages of the client; what all readers consumed makes room.
-- include: base session pushes
-- ARGV  1 session  2 attempt  3 node  4 channel  5 nodes that read it "a,b"  6 how many, in all
-- answer: "stale" | the blobs that nobody will read again
local S = load(ARGV[1])
if not S or S.at ~= tonumber(ARGV[2]) or terminal(S) then return 'stale' end
local field = 't:' .. ARGV[4] .. ':' .. ARGV[3]
if tonumber(ARGV[6]) > tonumber(fact(S, field) or '0') then redis.call('HSET', K.pushes(S.id), field, ARGV[6]) end
local blobs = trim(S, ARGV[4], reading(S, ARGV[5]))
local waiting = fact(S, 'w')
if waiting then
  redis.call('HDEL', K.pushes(S.id), 'w')
  poke(S, waiting)
end
return blobs
