-- What stands in front of the scripts that know API sessions. KEYS[1] is a hash of those of a portal session, by
-- their marks; KEYS[2] one of the tokens that wait, by theirs; KEYS[3] is there while no token is minted; KEYS[4] is
-- a hash of what was taken out a moment ago.
local clock = redis.call('TIME')
local now = math.floor((clock[1] * 1000000 + clock[2]) / 1000)

-- End, when it was made, state, whether it was acknowledged, whether its keys are held, whether somebody waits, what
-- it is like; the sealed record is the rest. All times are the server's, in milliseconds. Another layout would want
-- keys of other names: while replicas are upgraded, there are two versions of this.
local LAYOUT = '>I8I8BBBBc16'
local HEAD = 36
-- When a token was minted and when it ends, and the mark of what it is for.
local TOKEN = '>I8I8c16'
local TOKEN_LENGTH = 32

-- States: nobody has come with its token; somebody has; the client itself has ended it.
local WAITS, TAKEN_UP, ENDED = 0, 1, 2

local function parse(raw)
  if not raw or #raw < HEAD then return nil end
  local session = {}
  session.ends, session.made, session.state, session.acknowledged, session.held, session.waited, session.like =
    struct.unpack(LAYOUT, raw)
  session.sealed = string.sub(raw, HEAD + 1)
  return now < session.ends and session or nil
end

local function read(mark)
  return parse(redis.call('HGET', KEYS[1], mark))
end

-- Has a hash stay for at least so long.
local function keep(key, millis)
  if redis.call('PTTL', key) < millis then
    redis.call('PEXPIRE', key, string.format('%.0f', millis))
  end
end

local function write(mark, session)
  redis.call('HSET', KEYS[1], mark, struct.pack(LAYOUT, session.ends, session.made, session.state,
    session.acknowledged, session.held, session.waited, session.like) .. session.sealed)
  keep(KEYS[1], session.ends - now)
end

-- A full server refuses a script at its first step that could need memory, not later: what must not fail makes
-- another step first, which changes nothing.
local function insist()
  redis.call('HDEL', KEYS[1], '')
end
