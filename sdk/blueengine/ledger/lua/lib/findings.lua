-- What does not fit together, for the check_* scripts. A finding is {code, whom it is of, in words}.

local FIX = ARGV[1] == 'fix'
local findings = {}

-- wrong(code, whom, text): note a finding; true when it is to be mended
local function wrong(code, whom, text)
  findings[#findings + 1] = {code, whom, text}
  return FIX
end

-- in_zset, mend_zset: wanted is the score that the member must have, nil when it must not be there
local function in_zset(key, member, wanted)
  local has = redis.call('ZSCORE', key, member)
  if wanted then return has and tonumber(has) == tonumber(wanted) end
  return not has
end

local function mend_zset(key, member, wanted)
  if wanted then redis.call('ZADD', key, wanted, member) else redis.call('ZREM', key, member) end
end
