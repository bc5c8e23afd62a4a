-- ARGV: the session's mark; what is to be done; for how long it is remembered that the client has ended it.
local mark, wish = ARGV[1], ARGV[2]
local session = read(mark)
if not session then return { 'unknown' } end
if session.state == ENDED then return { 'ended', 0, session.sealed } end
if wish == 'forget' then
  redis.call('HDEL', KEYS[1], mark)
  return { 'done', session.waited, '' }
end
if session.state == WAITS then return { 'unknown' } end
if wish == 'look' then return { 'done', session.acknowledged, session.sealed } end
insist()
local waited = session.waited
if wish == 'wait' then
  if session.acknowledged == 1 then return { 'done', 1, '' } end
  session.waited = 1
elseif wish == 'acknowledge' then
  session.acknowledged, session.waited = 1, 0
elseif wish == 'hold' then
  session.held = 1
elseif wish == 'end' then
  session.state, session.waited, session.ends = ENDED, 0, now + tonumber(ARGV[3])
else
  return { 'strange' }
end
write(mark, session)
return { wish == 'wait' and 'here' or 'done', waited, session.sealed }
