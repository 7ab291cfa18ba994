-- What the client of an interactive session pushes. K.pushed(session, channel) is the window: the
-- messages that not all readers have consumed. K.pushes(session) holds, by channel: n:<c> how many
-- were pushed, b:<c> bytes in the window, z:<c>:<i> "bytes blob" of message i, e:<c> that it ended;
-- by reader: a:<node> the attempt in which it is sent each message as it comes, t:<c>:<node> how many
-- it consumed; k:<key> "channel number hash" of the last messages that had a key, o:<i> these keys;
-- w the gateways that wait for room.

local KEYS_KEPT = 1000

local function fact(S, field) return redis.call('HGET', K.pushes(S.id), field) end

-- reading(S, text): those of these nodes ("a,b") that still read
local function reading(S, text)
  local out = {}
  for _, node in ipairs(split(text)) do
    if sub_arrow(get(S, node .. ':st'), 'broke') then out[#out + 1] = node end
  end
  return out
end

-- trim(S, channel, nodes): take out of the window what all these nodes consumed; the blobs of that
local function trim(S, channel, nodes)
  local facts, log, blobs = K.pushes(S.id), K.pushed(S.id, channel), {}
  local total = tonumber(fact(S, 'n:' .. channel) or '0')
  local base, least, bytes = total - redis.call('LLEN', log), total, 0
  for _, node in ipairs(nodes) do
    least = math.min(least, tonumber(fact(S, 't:' .. channel .. ':' .. node) or '0'))
  end
  if least <= base then return blobs end
  for i = base, least - 1 do
    local field = 'z:' .. channel .. ':' .. i
    local size, blob = string.match(fact(S, field), '^(%d+) (.*)$')
    redis.call('HDEL', facts, field)
    bytes = bytes + size
    if blob ~= '' then blobs[#blobs + 1] = blob end
  end
  redis.call('LTRIM', log, least - base, -1)
  redis.call('HINCRBY', facts, 'b:' .. channel, num(-bytes))
  return blobs
end

-- remember(S, key, what): keep what a key stands for, in place of the oldest one
local function remember(S, key, what)
  local facts = K.pushes(S.id)
  local place = 'o:' .. (redis.call('HINCRBY', facts, 'keys', 1) % KEYS_KEPT)
  local oldest = redis.call('HGET', facts, place)
  if oldest then redis.call('HDEL', facts, 'k:' .. oldest) end
  redis.call('HSET', facts, place, key, 'k:' .. key, what)
end

-- keep_pushed(S, channel, item): a message of a stored channel is a result, in every attempt
local function keep_pushed(S, channel, item)
  local stored, kept = redis.call('RPUSH', K.results(S.id, channel), item), {}
  for c, count in string.gmatch(get(S, 'kept') or '', '([^=,]+)=([^,]+)') do
    if c ~= channel then kept[#kept + 1] = c .. '=' .. count end
  end
  kept[#kept + 1] = channel .. '=' .. stored
  put(S, 'kept', table.concat(kept, ','))
  event(S, 'k', 'results', 'n', '', 'c', channel, 'count', stored)
end

-- tell_readers(S, channel, nodes, i, kind, message): send it to those that take messages as they come
local function tell_readers(S, channel, nodes, i, kind, message)
  for _, node in ipairs(nodes) do
    if tonumber(fact(S, 'a:' .. node)) == S.at then
      local instance = get(S, node .. ':in')
      redis.call('XADD', K.commands(instance), 'NOMKSTREAM', '*', 't', 'push', 's', S.id,
        'a', S.at, 'n', node, 'c', channel, 'i', num(i), 'k', kind, 'd', message)
    end
  end
end

-- listed(text, word): the comma list with the word in it
local function listed(text, word)
  if not text or text == '' then return word end
  if string.find(',' .. text .. ',', ',' .. word .. ',', 1, true) then return text end
  return text .. ',' .. word
end
