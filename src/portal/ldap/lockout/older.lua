-- For tests: makes what stands in the counters older by so many milliseconds.
local counts, ages, by = KEYS[1], KEYS[2], ARGV[1]
local held = redis.call('HGETALL', counts)
for i = 1, #held, 2 do
  local wrong, since, ends = string.match(held[i + 1], '^(%d+) (%d+) (%d+)$')
  ends = math.max(ends - by, 0)
  redis.call('HSET', counts, held[i], string.format('%.0f %.0f %.0f', wrong, since - by, ends))
  redis.call('ZINCRBY', ages, -by, held[i])
end
return 1
