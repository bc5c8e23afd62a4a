-- ARGV: mark, likeness, sealed record and life of a session that was taken up; whether it was acknowledged, and whether
-- its keys are held.
if redis.call('EXISTS', KEYS[3]) == 1 then return { 'gone' } end
local session = read(ARGV[1])
if session and session.state == ENDED then return { 'ended' } end
if not session then
  session = { ends = now + tonumber(ARGV[4]), made = now, acknowledged = 0, held = 0, waited = 0,
    like = ARGV[2] ~= '' and ARGV[2] or string.rep('\0', 16), sealed = ARGV[3] }
end
session.state = TAKEN_UP
session.acknowledged = math.max(session.acknowledged, tonumber(ARGV[5]))
session.held = math.max(session.held, tonumber(ARGV[6]))
write(ARGV[1], session)
return { 'done' }
