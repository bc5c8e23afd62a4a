-- ARGV: who, in how long, and so on. Of all replicas that say when they look at it, the last is waited for.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for at = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', now + tonumber(ARGV[at + 1])), ARGV[at])
end
return {}
