-- ARGV: entry, the fence of the keys that are known, duration of the lease, who asks.
if is_ended() then return { 'revoked' } end
local entry = read(ARGV[1])
local than = tonumber(ARGV[2])
if has_record(entry) and entry.fence > than then return shown('here', entry) end
-- Whoever asks again did not hear the first answer, so nobody logs in under that lease.
if lasts(entry.lease) and entry.holder ~= ARGV[4] then
  if entry.waited == 0 then
    entry.waited = 1
    write(ARGV[1], entry)
  end
  return { 'theirs', entry.lease - now }
end
-- Greater than all before, where they are known; and where the server has lost them, later than all before.
entry.given = math.max(micros, entry.given + 1, than + 1)
if entry.since == 0 then entry.since = entry.given end
entry.lease = now + tonumber(ARGV[3])
entry.holder = ARGV[4]
write(ARGV[1], entry)
return { 'yours', entry.given }
