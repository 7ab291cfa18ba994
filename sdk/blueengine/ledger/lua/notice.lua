-- notice: a status message of an engine (progress, custom types) goes into the session's history.
-- include: base session
-- ARGV  1 session  2 attempt  3 node  4 type  5 body (JSON)  6 how many the node said before
-- answer: "ok" | "stale"
local field = ARGV[3] .. ':said'  -- "<attempt> <messages> <its last word, if it said that>"
local S = load(ARGV[1], field)
if not S or S.at ~= tonumber(ARGV[2]) or terminal(S) then return 'stale' end
local attempt, count, word = string.match(get(S, field) or '', '^(%d+) (%d+) ?(%a*)$')
if attempt == ARGV[2] and tonumber(ARGV[6]) < tonumber(count) then return 'ok' end  -- the same again
if attempt ~= ARGV[2] then word = '' end
if ARGV[4] == 'finish' or ARGV[4] == 'error' then word = ARGV[4] end
put(S, field, ARGV[2] .. ' ' .. (ARGV[6] + 1) .. ' ' .. word)
if ARGV[4] == 'progress' then put(S, ARGV[3] .. ':progress', ARGV[5]) end
S.long = true
event(S, 'k', 'notice', 'n', ARGV[3], 'type', ARGV[4], 'body', ARGV[5])
save(S)
return 'ok'
