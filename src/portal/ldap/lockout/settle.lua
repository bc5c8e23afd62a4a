-- What became of a try that was let through: `right`, `wrong` or `unknown`, for all replicas.
-- ARGV: that word; the marks of the name as it was typed, of the network, of the guess, and of
-- whose the name is, if it was right; the most of each, how long all of it is kept in milliseconds; and what
-- admit.lua gave beside its 0.
local what, typed, network, guess, owner = unpack(ARGV)
local most, kept_for = tonumber(ARGV[6]), ARGV[7]
local user, from, before_from, before_network, before_user = unpack(ARGV, 8)

local function remember(key, mark)
  redis.call('ZADD', key, now, mark)
  if redis.call('ZCARD', key) > most then
    return redis.call('ZPOPMIN', key)[1]
  end
end

-- One that was counted and was none. What others have added meanwhile stays.
local function take_back(field, before)
  local wrong, rest = string.match(redis.call('HGET', counts, field) or '', '^(%d+) (.*)$')
  if before == '-' or not wrong then
    return
  end
  wrong = string.format('%.0f', wrong - 1)
  if wrong == '0' then
    drop(field)
  elseif wrong == string.match(before, '^%d+') then
    redis.call('HSET', counts, field, before)
  else
    redis.call('HSET', counts, field, wrong .. ' ' .. rest)
  end
end

if what == 'wrong' then
  remember(tried, guess)
else
  take_back(from, before_from)
  take_back('n' .. network, before_network)
  take_back('u' .. user, before_user)
end
if what == 'right' then
  remember(known, owner .. network)
  remember(known, user .. network)
  drop(from)
  -- What was counted under another spelling before it was known whose it is.
  drop('p' .. owner .. network)
  redis.call('ZREM', tried, guess)
  if typed == owner then
    redis.call('HDEL', names, typed)
    redis.call('ZREM', named, typed)
  else
    redis.call('HSET', names, typed, owner)
    local oldest = remember(named, typed)
    if oldest then
      redis.call('HDEL', names, oldest)
    end
  end
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, kept_for)
end
return { 1 }
