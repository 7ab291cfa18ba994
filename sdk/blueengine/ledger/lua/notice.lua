-- notice: a status message of an engine (progress, custom types) goes into the session's history.
-- include: base session
-- ARGV  1 session  2 attempt  3 node  4 type  5 body (JSON)
-- answer: "ok" | "stale"
local S = load(ARGV[1])
if not S or S.at ~= tonumber(ARGV[2]) or terminal(S) then return 'stale' end
if ARGV[4] == 'progress' then put(S, ARGV[3] .. ':progress', ARGV[5]) end
S.long = true
event(S, 'k', 'notice', 'n', ARGV[3], 'type', ARGV[4], 'body', ARGV[5])
save(S)
return 'ok'
