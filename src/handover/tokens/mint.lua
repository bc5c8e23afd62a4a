-- One more token of a session. KEYS: its tokens, each an end and what is sealed under a mark.
-- ARGV: the mark, what is sealed, the life in milliseconds, how many there may be.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HGETALL', KEYS[1])
local count, oldest, first = 0, nil, math.huge
for i = 1, #held, 2 do
  local ends = tonumber(string.match(held[i + 1], '^%d+'))
  if ends <= now then
    redis.call('HDEL', KEYS[1], held[i])
  else
    count = count + 1
    if ends < first then
      oldest, first = held[i], ends
    end
  end
end
if count >= tonumber(ARGV[4]) then
  redis.call('HDEL', KEYS[1], oldest)
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now + ARGV[3]) .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 1 }
