-- ARGV: until when, in milliseconds since 1970; who ends it.
local all = redis.call('HGETALL', KEYS[1])
-- First, so that a full server does not refuse the rest.
redis.call('DEL', KEYS[1])
local before = tonumber(redis.call('GET', KEYS[2]) or 0)
-- Longer than the portal says: its clock may be another, and no login that is under way may come after it.
local stays = math.max(tonumber(ARGV[1]), now) + 600000
-- No longer than a year.
stays = math.max(before, math.min(stays, now + 31536000000))
redis.call('SET', KEYS[2], string.format('%.0f', stays), 'PX', string.format('%.0f', stays - now))
local answer = {}
local aside = redis.call('HGETALL', KEYS[3])
for at = 1, #aside, 2 do
  local entry = parse(aside[at + 1])
  if entry.holder == ARGV[2] then append(answer, aside[at], entry) end
end
for at = 1, #all, 2 do
  local entry = parse(all[at + 1])
  append(answer, all[at], entry)
  if entry.sealed ~= '' then lay_aside(all[at], entry, ARGV[2]) end
end
return answer
