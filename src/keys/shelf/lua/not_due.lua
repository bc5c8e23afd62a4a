-- ARGV: the time at which they would be given again, and who. One that is due at another is there once more.
local gone = 0
for at = 2, #ARGV do
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[at]) or 0) == tonumber(ARGV[1]) then
    gone = gone + redis.call('ZREM', KEYS[1], ARGV[at])
  end
end
return { gone }
