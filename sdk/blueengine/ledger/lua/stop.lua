-- stop: a client ends a session. Pending: canceled at once; running: its engines are told to stop.
-- include: base session release ending breaking
-- ARGV  1 session  2 reason
-- answer: {"canceled"|"stopping"} | {"ended", status} | {"unknown"}
local S, t = load(ARGV[1]), now()
if not S then return {'unknown'} end
if terminal(S) then return {'ended', S.st} end
if S.st == 'processing' then
  advance(S, 'stop-asked')
  send_stops(S, t, ARGV[2])
elseif S.st ~= 'stopping' then
  send_stops(S, t, ARGV[2])
  settle(S, t, 'stop-asked', fault('canceled', ARGV[2]))
end
save(S)
return {S.st}
