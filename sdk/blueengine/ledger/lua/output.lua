-- output: keep messages of a stored channel as results, in order, each once.
-- include: base session results
-- ARGV  1 session  2 attempt  3 node  4 channel  5 sequence number of the first message  6… items
-- answer: "ok" | "stale" | "gap" (messages before these never came; nothing is stored)
local node, channel = ARGV[3], ARGV[4]
local S = load(ARGV[1], node .. ':st', node .. ':o:' .. channel, 'first')
if not S or S.at ~= tonumber(ARGV[2]) or terminal(S) then return 'stale' end
local st = get(S, node .. ':st')
if st ~= 'processing' and st ~= 'stopping' then return 'stale' end
local answer = keep_results(S, now(), node, channel, tonumber(ARGV[5]), 6, #ARGV)
save(S)
return answer
