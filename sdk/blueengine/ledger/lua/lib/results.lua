-- keep_results(S, t, node, channel, first, from, to): store ARGV[from..to] as messages of a channel,
-- those that are stored already left out; `first` is the sequence number of the first.
-- answer: "ok" | "gap" (messages before these never came; nothing is stored)
local function keep_results(S, t, node, channel, first, from, to)
  local field = node .. ':o:' .. channel
  local expected = tonumber(get(S, field) or '0')
  if first > expected then return 'gap' end
  local stored = 0
  for i = from + expected - first, to do
    stored = redis.call('RPUSH', K.results(S.id, channel), ARGV[i])
  end
  if stored > 0 then
    S.long = true
    put(S, field, first + to - from + 1)
    if not get(S, 'first') then put(S, 'first', num(t)) end
    event(S, 'k', 'results', 'n', node, 'c', channel, 'count', stored)
  end
  return 'ok'
end
