-- revoke_key: an API key is valid no more; its record stays, so that the audit log can be read.
-- include: base
-- ARGV  1 key id  2 its tenant, or "" for whatever it is
-- answer: "ok" | "unknown"
local tenant = redis.call('HGET', K.key(ARGV[1]), 'tenant')
if not tenant or ARGV[2] ~= '' and ARGV[2] ~= tenant then return 'unknown' end
if redis.call('HGET', K.key(ARGV[1]), 'revoked') == '0' then
  redis.call('HSET', K.key(ARGV[1]), 'revoked', num(now()))
end
redis.call('PUBLISH', K.key_news(), 'key ' .. ARGV[1])
return 'ok'
