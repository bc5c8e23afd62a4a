-- ARGV: how long no token is minted, and who takes. Gives whatever the client knows of and nobody else ends, once; and
-- the marks of all that somebody else has ended, or will, so that whoever has a copy of another knows it was lost.
-- First, so that a full server does not refuse the rest.
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[3], '', 'PX', ARGV[1])
local answer = {}
local function tell(mark, waited, sealed)
  for _, item in ipairs({ mark, waited, sealed }) do
    answer[#answer + 1] = item
  end
end
local aside = redis.call('HGETALL', KEYS[4])
for at = 1, #aside, 2 do
  -- Taken by the same before, who has not heard the answer.
  local again = string.sub(aside[at + 1], 1, #ARGV[2]) == ARGV[2]
  tell(aside[at], 0, again and string.sub(aside[at + 1], #ARGV[2] + 1) or '')
end
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local session = parse(all[at + 1])
  -- That the client has ended one is known for longer.
  if not session or session.state ~= ENDED then
    redis.call('HDEL', KEYS[1], all[at])
  end
  if session and session.state == TAKEN_UP and session.held == 0 then
    redis.call('HSET', KEYS[4], all[at], ARGV[2] .. session.sealed)
    redis.call('PEXPIRE', KEYS[4], 300000)
    tell(all[at], session.waited, session.sealed)
  elseif session then
    tell(all[at], session.waited, '')
  end
end
return answer
