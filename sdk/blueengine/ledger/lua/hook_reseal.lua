-- hook_reseal: keep secrets that sign a tenant's webhooks in another form; what they are stays the same.
-- include: base
-- ARGV  1 tenant  2… pairs: as it is kept, as it is to be kept
-- answer: how many were changed
local key, changed = K.hook_secrets(ARGV[1]), 0
for at, text in ipairs(redis.call('LRANGE', key, 0, -1)) do
  local secret, rest = string.match(text, '^(%S+)( .*)$')
  for i = 2, #ARGV, 2 do
    if secret == ARGV[i] then
      redis.call('LSET', key, at - 1, ARGV[i + 1] .. rest)
      changed = changed + 1
    end
  end
end
return changed
