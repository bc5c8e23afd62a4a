-- Stands in front of admit.lua and settle.lua. KEYS: see shared.rs.
local counts, ages, known, tried, names, named = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function drop(field)
  redis.call('HDEL', counts, field)
  redis.call('ZREM', ages, field)
end

