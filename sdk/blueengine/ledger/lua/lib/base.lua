-- Time and text. Times are microseconds since the epoch by Redis' own clock, kept as decimal text.

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- num(n): a whole number as text; %d costs a quarter of %.0f, and takes 64 bits
local function num(n) return string.format('%d', n) end

local function split(text)
  local out = {}
  for word in string.gmatch(text, '[^,]+') do out[#out + 1] = word end
  return out
end

local function fault(code, message, extra)  -- seldom
  local f = extra or {}
  f.code, f.message = code, message
  return cjson.encode(f)
end
