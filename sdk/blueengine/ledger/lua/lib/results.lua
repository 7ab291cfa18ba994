-- Results: kept in order, each once; and told to who waits for the end when they are small.

local TOLD_BYTES = 16384
local TOLD_ITEMS = 100

-- outcome_of(sid, words, from): a finished session and all its results, which are words[from..] (channel,
-- number of the first, how many, items, …), as who waits for it is told: "<session> <length> <length> …",
-- a newline, the words. nil when they are large.
local function outcome_of(sid, words, from)
  local lengths, bytes = {sid}, 0
  for i = from, #words do
    lengths[#lengths + 1] = #words[i]
    bytes = bytes + #words[i]
  end
  if bytes > TOLD_BYTES then return nil end
  return table.concat(lengths, ' ') .. '\n' .. table.concat(words, '', from)
end

-- outcome_kept(sid, stored): the same of results that are stored already, in the channels "x,y"; they are
-- not read before they are known to be small
local function outcome_kept(sid, stored)
  local words, bytes = {}, 0
  for channel in string.gmatch(stored, '[^,]+') do
    local key = K.results(sid, channel)
    if redis.call('LLEN', key) > TOLD_ITEMS then return nil end
    bytes = bytes + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0') or 0)
    if bytes > 2 * TOLD_BYTES then return nil end
    local items = redis.call('LRANGE', key, '0', '-1')
    if items[1] then
      local n = #words
      words[n + 1], words[n + 2], words[n + 3] = channel, '0', num(#items)
      for i = 1, #items do words[n + 3 + i] = items[i] end
    end
  end
  return outcome_of(sid, words, 1)
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
