-- Results: kept in order, each once; and told to who waits for the end when they are small.

local TOLD_BYTES = 16384

-- outcome_of(sid, from): a finished session and all its results, which are ARGV[from..], as who waits
-- for it is told: "<session> <length> <length> …", a newline, the words. nil when they are large.
local function outcome_of(sid, from)
  local lengths, bytes = {sid}, 0
  for i = from, #ARGV do
    lengths[#lengths + 1] = #ARGV[i]
    bytes = bytes + #ARGV[i]
  end
  if bytes > TOLD_BYTES then return nil end
  return table.concat(lengths, ' ') .. '\n' .. table.concat(ARGV, '', from)
end

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
    put(S, field, num(first + to - from + 1))
    if not get(S, 'first') then put(S, 'first', num(t)) end
    event(S, 'k', 'results', 'n', node, 'c', channel, 'count', num(stored))
  end
  return 'ok'
end
