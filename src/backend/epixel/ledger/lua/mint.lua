-- ARGV: the token's mark; mark, likeness, sealed record and life of a new session; the token's life; the most.
-- Where there is a session of this likeness, the token is for that one; nothing is like what has none.
if redis.call('EXISTS', KEYS[3]) == 1 then return { 'no room' } end
local tokens = {}
local waiting = redis.call('HGETALL', KEYS[2])
for at = 1, #waiting, 2 do
  local _, ends, mark = 0, 0, ''
  if #waiting[at + 1] == TOKEN_LENGTH then _, ends, mark = struct.unpack(TOKEN, waiting[at + 1]) end
  if now < ends then
    tokens[mark] = (tokens[mark] or 0) + 1
  else
    redis.call('HDEL', KEYS[2], waiting[at])
  end
end
local count, same, mark, oldest, oldest_made = 0, nil, ARGV[2], nil, nil
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local session = parse(all[at + 1])
  if not session or (session.state == WAITS and not tokens[all[at]]) then
    redis.call('HDEL', KEYS[1], all[at])
  elseif session.state ~= ENDED then
    count = count + 1
    if ARGV[3] ~= '' and session.like == ARGV[3] then same, mark = session, all[at] end
    if session.held == 1 and (not oldest or session.made < oldest_made) then
      oldest, oldest_made = all[at], session.made
    end
  end
end
local most = tonumber(ARGV[7])
if (tokens[mark] or 0) >= most then return { 'no room' } end
if not same then
  if count >= most then
    if not oldest then return { 'no room' } end
    -- Whoever holds its keys can end it without us.
    redis.call('HDEL', KEYS[1], oldest)
  end
  write(mark, { ends = now + tonumber(ARGV[5]), made = now, state = WAITS, acknowledged = 0, held = 0, waited = 0,
    like = ARGV[3] ~= '' and ARGV[3] or string.rep('\0', 16), sealed = ARGV[4] })
end
redis.call('HSET', KEYS[2], ARGV[1], struct.pack(TOKEN, now, now + tonumber(ARGV[6]), mark))
keep(KEYS[2], tonumber(ARGV[6]))
return { 'minted', mark, same and same.sealed or '' }
