-- ARGV: who, in how long. Of all replicas that say when they look at it, the last is waited for.
local clock = redis.call('TIME')
local due = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[2])
return { redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', due), ARGV[1]) }
