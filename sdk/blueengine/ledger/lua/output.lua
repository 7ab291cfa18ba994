-- output: keep messages of a stored channel as results, in order, each once.
-- include: base session
-- ARGV  1 session  2 attempt  3 node  4 channel  5 sequence number of the first message  6… items
-- answer: "ok" | "stale" | "gap" (messages before these never came; nothing is stored)
local node, channel, first = ARGV[3], ARGV[4], tonumber(ARGV[5])
local field = node .. ':o:' .. channel
local S = load(ARGV[1], node .. ':st', field, 'first')
if not S or S.at ~= tonumber(ARGV[2]) or terminal(S) then return 'stale' end
local st = get(S, node .. ':st')
if st ~= 'processing' and st ~= 'stopping' then return 'stale' end
local expected = tonumber(get(S, field) or '0')
if first > expected then return 'gap' end
local count = 0
for i = 6 + expected - first, #ARGV do
  count = redis.call('RPUSH', K.results(S.id, channel), ARGV[i])
end
if count > 0 then
  put(S, field, first + #ARGV - 5)
  if not get(S, 'first') then put(S, 'first', num(now())) end
  event(S, 'k', 'results', 'n', node, 'c', channel, 'count', count)
  save(S)
end
return 'ok'
