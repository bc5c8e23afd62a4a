-- ARGV: how long no token is minted, and who takes. Gives whatever the client knows of and nobody else ends, once.
-- First, so that a full server does not refuse the rest.
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[3], '', 'PX', ARGV[1])
local answer = {}
local aside = redis.call('HGETALL', KEYS[4])
for at = 1, #aside, 2 do
  -- Taken before, but whoever did so has not heard the answer.
  if string.sub(aside[at + 1], 1, #ARGV[2]) == ARGV[2] then
    for _, item in ipairs({ aside[at], 0, string.sub(aside[at + 1], #ARGV[2] + 1) }) do
      answer[#answer + 1] = item
    end
  end
end
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local session = parse(all[at + 1])
  -- That the client has ended one is known for longer.
  if not session or session.state ~= ENDED then
    redis.call('HDEL', KEYS[1], all[at])
  end
  if session and session.state == TAKEN_UP then
    local is_beside = session.held == 0
    if is_beside then
      redis.call('HSET', KEYS[4], all[at], ARGV[2] .. session.sealed)
      redis.call('PEXPIRE', KEYS[4], 300000)
    end
    for _, item in ipairs({ all[at], session.waited, is_beside and session.sealed or '' }) do
      answer[#answer + 1] = item
    end
  end
end
return answer
