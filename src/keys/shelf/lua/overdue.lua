-- ARGV: how many. Each is given to whoever asks first, and again a minute later, should that replica die with it.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local again = string.format('%.0f', now + 60000)
local answer = { again }
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for _, member in ipairs(found) do
  redis.call('ZADD', KEYS[1], again, member)
  answer[#answer + 1] = member
end
return answer
