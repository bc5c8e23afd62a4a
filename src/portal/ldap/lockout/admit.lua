-- Whether a password may be tried now, and that it was: `Lockout::admit_here`, for all replicas.
-- ARGV: the marks of the name as it was typed, of the network, of the browser and of whom it is
-- known to be ('' for none), and of the guess; then times in milliseconds and numbers as they are named below.
-- Gives how long to wait; or 0, whose name it is, the first counter, and what stood in each of the three before.
local typed, network, device, device_of, guess = unpack(ARGV)
local wait, longest, for_others, forgotten_after = unpack(ARGV, 6, 9)
local attempts, per_address, per_user, most = unpack(ARGV, 10, 13)

-- Of the oldest few, one that holds nobody up has to go first.
local function make_room()
  local oldest = redis.call('ZRANGE', ages, 0, 63)
  for _, field in ipairs(oldest) do
    local wrong = string.match(redis.call('HGET', counts, field) or '0', '^%d+')
    if tonumber(wrong) < tonumber(attempts) then
      return drop(field)
    end
  end
  drop(oldest[1] or '')
end

for _, field in ipairs(redis.call('ZRANGEBYSCORE', ages, 0, now - forgotten_after - 1, 'LIMIT', 0, 16)) do
  drop(field)
end

local user = redis.call('HGET', names, typed) or typed
local from = 'p' .. user .. network
local is_known = redis.call('ZSCORE', known, user .. network)
if device ~= '' and device_of == user then
  from, is_known = 'd' .. user .. device, true
end
local counters = {
  { field = from, allowed = attempts, longest = longest, holds = true },
  { field = 'n' .. network, allowed = per_address, longest = longest, holds = not is_known },
  { field = 'u' .. user, allowed = per_user, longest = for_others, holds = not is_known },
}

local left = 0
for _, counter in ipairs(counters) do
  local text = redis.call('HGET', counts, counter.field)
  local wrong, since, ends = string.match(text or '', '^(%d+) (%d+) (%d+)$')
  if not wrong or now - since > tonumber(forgotten_after) then
    text, wrong, ends = '', 0, 0
  end
  counter.before, counter.wrong, counter.ends = text or '', tonumber(wrong), tonumber(ends)
  if counter.holds then
    -- Another server may have taken over, by whose clock it would be longer.
    left = math.max(left, math.min(counter.ends - now, tonumber(counter.longest)))
  end
end
if left > 0 then
  return { left }
end

local is_new = not redis.call('ZSCORE', tried, guess)
local answer = { 0, user, from }
for _, counter in ipairs(counters) do
  -- What was tried before is counted nowhere, so nothing is to be taken back.
  answer[#answer + 1] = is_new and counter.before or '-'
  if is_new then
    local wrong, ends = counter.wrong + 1, counter.ends
    if wrong >= tonumber(counter.allowed) then
      local more = math.min(wrong - counter.allowed, 20)
      ends = now + math.min(wait * 2 ^ more, tonumber(counter.longest))
    end
    local exists = redis.call('HEXISTS', counts, counter.field) == 1
    if not exists and redis.call('HLEN', counts) >= tonumber(most) then
      make_room()
    end
    redis.call('HSET', counts, counter.field, string.format('%.0f %.0f %.0f', wrong, now, ends))
    redis.call('ZADD', ages, now, counter.field)
  end
end
return answer
