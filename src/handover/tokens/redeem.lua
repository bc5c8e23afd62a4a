-- Takes a token. KEYS: the tokens of a session. ARGV: the mark. Gives what is sealed, if it has not ended.
local found = redis.call('HGET', KEYS[1], ARGV[1])
if not found then
  return { false }
end
redis.call('HDEL', KEYS[1], ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local blank = string.find(found, ' ', 1, true)
return { tonumber(string.sub(found, 1, blank)) > now and string.sub(found, blank + 1) }
