-- ARGV: the token's mark, how long one lives, and 'burn' where nobody is to have anything of it.
local token = redis.call('HGET', KEYS[2], ARGV[1])
if not token or #token ~= TOKEN_LENGTH then return { 'unknown' } end
redis.call('HDEL', KEYS[2], ARGV[1])
local minted, ends, mark = struct.unpack(TOKEN, token)
-- They may have lived longer when it was minted.
if now >= math.min(ends, minted + tonumber(ARGV[2])) then return { 'unknown' } end
-- By a server whose clock was ahead of this one's: nobody knows how long ago.
if now < minted - 60000 then return { 'unknown' } end
local session = read(mark)
if ARGV[3] == 'burn' or not session or session.state == ENDED then return { 'unknown' } end
if session.state == WAITS then
  session.state = TAKEN_UP
  write(mark, session)
end
return { 'redeemed', mark, session.sealed }
