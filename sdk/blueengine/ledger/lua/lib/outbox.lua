-- The outbox: what webhooks are to be told, kept by the very step that makes it happen.
--
-- The queue "<session>~<number>" holds the events of one webhook of a session, oldest first; only the
-- first is ever under way. K.hook_due(receiver) says when the first event of each queue is due, and
-- K.hook_receivers() when the first queue of each receiver is. S.hooks is what the steps of a session
-- need to know of its webhooks: [{"to": receiver, "on": {type: true}, "with": channel}, …].

-- soonest(receiver): keep its place among the receivers right
local function soonest(receiver)
  local first = redis.call('ZRANGE', K.hook_due(receiver), 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', K.hook_receivers(), first[2], receiver)
  else redis.call('ZREM', K.hook_receivers(), receiver) end
end

-- enlist(S, at): keep the webhooks of a new session, described in ARGV[at] and on; where these end
local function enlist(S, at)  -- seldom
  for i, hook in ipairs(cjson.decode(S.hooks)) do
    local queue = S.id .. '~' .. (i - 1)
    redis.call('HSET', K.hook(queue), 'session', S.id, 'to', hook.to, 'hook', ARGV[at])
    at = at + 1
  end
  return at
end

-- fire(S, parts, over): put what this step did into the queues of the webhooks that want it. Parts come
-- before the session, so that a session's last status follows the parts that led to it. A part that
-- ends without a word of its engine's own has `finish` or `error` said for it.
local function fire(S, parts, over)  -- seldom
  local hooks, engines, t, added, news = cjson.decode(S.hooks), {}, num(now()), false, false
  for _, n in ipairs(parts) do engines[n.name] = n.engine end

  local function tell(e)
    for i, hook in ipairs(hooks) do
      if hook.on['*'] or hook.on[e.type] then
        local queue = S.id .. '~' .. (i - 1)
        local waiting = redis.call('LLEN', K.hook_queue(queue))
        if waiting >= 10000 and e.body then
          redis.call('HINCRBY', K.hook(queue), 'dropped', 1)  -- statuses are few; engines may say anything
        else
          local number = redis.call('HINCRBY', K.hook(queue), 'told', 1)
          e.id = 'evt_' .. string.sub(S.id, -21) .. '_' .. (i - 1) .. '_' .. number
          e.results = hook.with and redis.call('LLEN', K.results(S.id, hook.with)) or nil
          redis.call('RPUSH', K.hook_queue(queue), cjson.encode(e))
          added = true
          if waiting == 0 then
            redis.call('ZADD', K.hook_due(hook.to), t, queue)
            redis.call('ZADD', K.hook_receivers(), 'LT', t, hook.to)
            news = true
          end
        end
      end
    end
  end

  for i = 1, #S.dirty, 2 do
    local node = string.match(S.dirty[i], '^([^:]+):st$')
    if node then
      local st, why = S.dirty[i + 1], S.fields[node .. ':fault'] or nil
      local e = {session = S.id, attempt = S.at, at = t, node = node, engine = engines[node], why = why}
      if st == 'finished' or st == 'failed' then
        local said = redis.call('HGET', S.key, node .. ':said') or ''
        if not string.find(said, '^' .. S.at .. ' %d+ %a') then
          e.type, e.status = st == 'finished' and 'finish' or 'error', S.was
          tell(e)
        end
      end
      e.type, e.status = 'subSessionStatusChanged', st
      tell(e)
    end
  end

  local e
  for i = 1, #S.history, 2 do
    local name, value = S.history[i], S.history[i + 1]
    if name == 'k' then e = {k = value} else e[name] = value end
    if name == 'st' and e.k == 'session' then
      tell({session = S.id, attempt = S.at, at = t, type = 'sessionStatusChanged', status = value,
        why = over and S.fields.fault or nil})
    elseif name == 'body' and e.type ~= 'sessionStatusChanged' and e.type ~= 'subSessionStatusChanged' then
      local large = #value > 65536
      tell({session = S.id, attempt = S.at, at = t, type = e.type, status = S.st, node = e.n,
        engine = engines[e.n], body = large and 'null' or value, large = large and #value or nil})
    end
  end

  -- what a webhook is to be told may be all that still needs the results
  if added and over then redis.call('ZADD', K.expiry(), 'GT', num(t + 172800000000), S.id) end
  if news then redis.call('PUBLISH', K.hook_wake(), '1') end
end

-- told_all(session): nothing waits for its webhooks any more; it is kept for its ttl like any other
local function told_all(sid)
  local v = redis.call('HMGET', K.session(sid), 'hooks', 'ended', 'ttl')
  if not v[1] or not v[2] then return end
  for i = 1, #cjson.decode(v[1]) do
    local queue = sid .. '~' .. (i - 1)
    if redis.call('EXISTS', K.hook_queue(queue)) == 1 then return end
  end
  redis.call('ZADD', K.expiry(), num(v[2] + v[3]), sid)
end

-- unlist(session, hooks): the session is forgotten, its webhooks with it
local function unlist(sid, hooks)  -- seldom
  for i, hook in ipairs(cjson.decode(hooks)) do
    local queue = sid .. '~' .. (i - 1)
    redis.call('DEL', K.hook(queue), K.hook_queue(queue))
    redis.call('ZREM', K.hook_due(hook.to), queue)
    soonest(hook.to)
  end
end
