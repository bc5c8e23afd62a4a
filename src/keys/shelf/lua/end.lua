-- ARGV: until when, in milliseconds since 1970.
local entries = list()
-- First, so that a full server does not refuse the rest.
redis.call('DEL', KEYS[1])
local before = tonumber(redis.call('GET', KEYS[2]) or 0)
-- Longer than the portal says: its clock may be another, and no login that is under way may come after it.
local stays = math.max(tonumber(ARGV[1]), now) + 600000
-- No longer than a year.
stays = math.max(before, math.min(stays, now + 31536000000))
redis.call('SET', KEYS[2], string.format('%.0f', stays), 'PX', string.format('%.0f', stays - now))
return entries
