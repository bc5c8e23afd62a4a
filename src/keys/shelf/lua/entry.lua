-- What stands in front of the scripts that know entries. KEYS[1] is the hash of a portal session, with a field for
-- each of its back-end sessions; KEYS[2] is there while the portal session is ended; KEYS[3] is a hash of what was
-- taken out a moment ago.
local clock = redis.call('TIME')
local micros = clock[1] * 1000000 + clock[2]
local now = math.floor(micros / 1000)

-- fence of the record, first fence that is known here, highest fence given, end of its lease (0: none), opened,
-- confirmed, used, end of the turn, end of the record, whether somebody waits, whose the lease is; the sealed record
-- is the rest. All times are the server's, in milliseconds. Another layout would want keys of other names: while
-- replicas are upgraded, there are two versions of this.
local LAYOUT = '>I8I8I8I8I8I8I8I8I8Bc8'
local HEAD = 81
local NOBODY = string.rep('\0', 8)
-- Fences are kept an hour longer than what they are of, so that a late holder is known for one.
local AFTER = 3600000
-- Leases and turns take less, so what ends later was written by a server whose clock was ahead of this one's.
local LONGEST_TURN = 600000

local function vacant()
  return { fence = 0, since = 0, given = 0, lease = 0, opened = 0, confirmed = 0, used = 0, turn = 0, ends = 0,
    waited = 0, holder = NOBODY, sealed = '' }
end

local function parse(raw)
  local entry = vacant()
  if not raw or #raw < HEAD then return entry end
  entry.fence, entry.since, entry.given, entry.lease, entry.opened, entry.confirmed, entry.used, entry.turn,
    entry.ends, entry.waited, entry.holder = struct.unpack(LAYOUT, raw)
  for _, time in ipairs({ 'opened', 'confirmed', 'used' }) do
    entry[time] = math.min(entry[time], now)
  end
  entry.sealed = string.sub(raw, HEAD + 1)
  return entry
end

local function read(name)
  return parse(redis.call('HGET', KEYS[1], name))
end

-- Has the hash stay for at least so long.
local function keep(millis)
  if redis.call('PTTL', KEYS[1]) < millis then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', millis))
  end
end

local function pack(entry)
  return struct.pack(LAYOUT, entry.fence, entry.since, entry.given, entry.lease, entry.opened, entry.confirmed,
    entry.used, entry.turn, entry.ends, entry.waited, entry.holder) .. entry.sealed
end

local function write(name, entry)
  redis.call('HSET', KEYS[1], name, pack(entry))
  keep(math.max(entry.ends, entry.lease, now) - now + AFTER)
end

-- A full server refuses a script at its first step that could need memory, not later: what only makes room, or
-- must not fail, makes another step first, which changes nothing.
local function insist()
  redis.call('HDEL', KEYS[1], '')
end

local function is_ended()
  return redis.call('EXISTS', KEYS[2]) == 1
end

local function lasts(time)
  return now < time and time <= now + LONGEST_TURN
end

local function remaining(time)
  return lasts(time) and time - now or 0
end

local function has_record(entry)
  return entry.sealed ~= '' and now < entry.ends
end

local function age(time)
  return now - time
end

local function aged(word, entry)
  return { word, age(entry.opened), age(entry.confirmed), age(entry.used) }
end

local function shown(word, entry)
  return { word, entry.fence, age(entry.opened), age(entry.confirmed), age(entry.used), entry.sealed }
end

-- The same, and whether somebody waits there.
local function taken(entry)
  local answer = shown('ours', entry)
  answer[#answer + 1] = entry.waited
  return answer
end

-- An age from a replica. It may have heard later than others of a use that was earlier.
local function note_use(entry, ago)
  entry.used = math.max(entry.used, now - ago)
end

-- Whoever takes something out and does not hear the answer asks again, by the same name, and gets it again.
local AGAIN = 300000

local function lay_aside(name, entry, taker)
  entry.holder = taker
  redis.call('HSET', KEYS[3], name, pack(entry))
  redis.call('PEXPIRE', KEYS[3], AGAIN)
end

local function taken_before(name, fence, taker)
  local entry = parse(redis.call('HGET', KEYS[3], name))
  if entry.sealed ~= '' and entry.fence == fence and entry.holder == taker then return taken(entry) end
  return { 'gone' }
end

-- What is left knows the fences, and a lease that goes on.
local function take_out(name, entry, taker)
  local rest = vacant()
  rest.since, rest.given, rest.lease, rest.holder = entry.since, entry.given, entry.lease, entry.holder
  insist()
  write(name, rest)
  if redis.call('HLEN', KEYS[1]) == 1 then
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', LONGEST_TURN + AFTER))
  end
  lay_aside(name, entry, taker)
  return taken(entry)
end

local function append(answer, name, entry)
  for _, item in ipairs({ name, entry.waited, unpack(shown('', entry), 2) }) do
    answer[#answer + 1] = item
  end
end

