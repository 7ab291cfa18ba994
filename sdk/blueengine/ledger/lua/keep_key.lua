-- keep_key: keep a new API key.
-- include: base
-- ARGV  1 key id  2 tenant  3… fields of the record: name, value, …
-- answer: "ok" | "taken" (another key has this id)
local id, tenant = ARGV[1], ARGV[2]
local digest
for i = 3, #ARGV, 2 do if ARGV[i] == 'digest' then digest = ARGV[i + 1] end end
local had = redis.call('HGET', K.key(id), 'digest')
if had then return had == digest and 'ok' or 'taken' end
local t = num(now())
redis.call('HSET', K.key(id), unpack(ARGV, 3))
redis.call('HSET', K.key(id), 'created', t)
redis.call('ZADD', K.keys(), t, id)
redis.call('ZADD', K.tenant_keys(tenant), t, id)
redis.call('SADD', K.tenants(), tenant)
return 'ok'
