-- ARGV: the token's mark, how long one lives, and 'burn' where nobody is to have anything of it.
local token = redis.call('HGET', KEYS[2], ARGV[1])
if not token or #token ~= TOKEN_LENGTH then return { 'unknown' } end
redis.call('HDEL', KEYS[2], ARGV[1])
local ends, mark = struct.unpack(TOKEN, token)
-- One that ends later than any does was written by a server whose clock was ahead of this one's, or while they lived
-- longer.
if now >= ends or ends > now + tonumber(ARGV[2]) + 60000 then return { 'unknown' } end
local session = read(mark)
if ARGV[3] == 'burn' or not session or session.state == ENDED then return { 'unknown' } end
if session.state == WAITS then
  session.state = TAKEN_UP
  write(mark, session)
end
return { 'redeemed', mark, session.sealed }
