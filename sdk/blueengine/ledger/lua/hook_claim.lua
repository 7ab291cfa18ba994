-- hook_claim: take events that are due, to deliver them: the first of each queue, the longest due first,
-- and no more for one receiver than it has room for. What is not settled within the lease is due again.
-- include: base outbox
-- ARGV  1 at most so many  2 lease, microseconds  3 at most so many for one receiver
--       4 receivers with less room than that: "host:port=room,…"
-- answer: {microseconds until something is due for which there is room, or -1, now,
--          {queue, claim, tries, since, webhook, event, kept body, gone}, …}
local t, left, each, rooms, full = now(), tonumber(ARGV[1]), tonumber(ARGV[3]), {}, 0
for _, pair in ipairs(split(ARGV[4])) do
  local receiver, room = string.match(pair, '^(.*)=(%d+)$')
  rooms[receiver] = tonumber(room)
  full = full + 1
end
local out = {-1, num(t)}
local due = redis.call('ZRANGEBYSCORE', K.hook_receivers(), '-inf', num(t), 'LIMIT', 0, left + full)
for _, receiver in ipairs(due) do
  local room = math.min(left, rooms[receiver] or each)
  if room > 0 then
    for _, queue in ipairs(redis.call('ZRANGEBYSCORE', K.hook_due(receiver), '-inf', num(t), 'LIMIT', 0, room)) do
      local event = redis.call('LINDEX', K.hook_queue(queue), 0)
      if event then
        local claim = redis.call('HINCRBY', K.hook(queue), 'claim', 1)
        local v = redis.call('HMGET', K.hook(queue), 'tries', 'since', 'hook', 'body', 'gone')
        if string.find(queue, '^again~') then
          local e = cjson.decode(event)
          local kept = redis.call('HMGET', K.hook_delivery(e.id), 'since', 'body')
          v[2], v[4] = v[2] or kept[1], kept[2]
        end
        redis.call('ZADD', K.hook_due(receiver), num(t + ARGV[2]), queue)
        out[#out + 1] = {queue, claim, v[1] or '0', v[2] or '', v[3] or '', event, v[4] or '', v[5] or ''}
        left, room = left - 1, room - 1
      else
        redis.call('ZREM', K.hook_due(receiver), queue)
      end
    end
    rooms[receiver] = room
    soonest(receiver)
  end
end
if left > 0 then
  local first = redis.call('ZRANGE', K.hook_receivers(), 0, full + #due, 'WITHSCORES')
  for i = 1, #first, 2 do
    if (rooms[first[i]] or each) > 0 then
      out[1] = num(math.max(0, first[i + 1] - t))
      break
    end
  end
end
return out
