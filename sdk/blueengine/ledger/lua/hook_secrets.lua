-- hook_secrets: the secrets that sign a tenant's webhooks, newest first; the first one is made when there
-- is none. With "rotate" the new one is added, and the others are valid for a while more at most.
-- include: base
-- ARGV  1 tenant  2 a new secret  3 "ensure" | "rotate"  4 microseconds the others stay valid
-- answer: {secret, created, valid until or 0, …}, times in microseconds
local key, t = K.hook_secrets(ARGV[1]), now()
local out, kept = {}, {}
for _, text in ipairs(redis.call('LRANGE', key, 0, -1)) do
  local secret, created, over = string.match(text, '^(%S+) (%d+) (%d+)$')
  if over == '0' or tonumber(over) > t then kept[#kept + 1] = {secret, created, over} end
end
if #kept == 0 or ARGV[3] == 'rotate' and kept[1][1] ~= ARGV[2] then
  local over, old = t + ARGV[4], kept
  kept = {{ARGV[2], num(t), '0'}}
  for _, one in ipairs(old) do
    if one[3] == '0' or tonumber(one[3]) > over then one[3] = num(over) end
    if over > t then kept[#kept + 1] = one end
  end
  redis.call('DEL', key)
  for _, one in ipairs(kept) do redis.call('RPUSH', key, table.concat(one, ' ')) end
end
for _, one in ipairs(kept) do
  for _, word in ipairs(one) do out[#out + 1] = word end
end
return out
