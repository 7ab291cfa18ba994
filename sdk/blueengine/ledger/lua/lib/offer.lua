-- Slots on offer. K.free(engine) is the truth of them; K.free_at(engine, place) holds the same for the
-- instances at one place ("host/<name>" or "zone/<name>"), for sessions that want to be near. Who picks by
-- place looks at the truth, too: an older version at work beside this one does not follow it.

-- follow(engine, instance, slots, host, zone): have the places of an instance say what K.free does: slots,
-- or false when none are on offer
local function follow(engine, instance, slots, host, zone)
  local index = host and K.free_at(engine, 'host/' .. host)
  for _ = 1, 2 do
    if index and slots then redis.call('ZADD', index, slots, instance)
    elseif index then redis.call('ZREM', index, instance) end
    index = zone and K.free_at(engine, 'zone/' .. zone)
  end
end

-- follow_places(engine, instance, slots): the same for one whose places are not known here
local function follow_places(engine, instance, slots)
  local at = redis.call('HMGET', K.instance(instance), 'host', 'zone')
  follow(engine, instance, slots, at[1], at[2])
end

-- offer(engine, instance, slots): these may be taken from now on; without a number, none
local function offer(engine, instance, slots)
  if slots then redis.call('ZADD', K.free(engine), slots, instance)
  else redis.call('ZREM', K.free(engine), instance) end
  follow_places(engine, instance, slots)
end
