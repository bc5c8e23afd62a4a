local answer = {}
if is_ended() then return answer end
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  append(answer, all[at], parse(all[at + 1]))
end
return answer
