-- ARGV: entry, fence of the keys, how long ago they were used, interval, how long a turn is.
if is_ended() then return { 'gone' } end
local entry = read(ARGV[1])
local fence, interval = tonumber(ARGV[2]), tonumber(ARGV[4])
if has_record(entry) and entry.fence > fence then return shown('newer', entry) end
if not has_record(entry) or entry.fence ~= fence then
  -- Whatever was given out later, these have been put there before, and taken out.
  if entry.given >= fence then return { 'gone' } end
  return { 'unknown' }
end
note_use(entry, tonumber(ARGV[3]))
local due = age(entry.confirmed) >= interval * 0.85
local yours = due and entry.used > entry.confirmed and entry.turn <= now and not is_leased(entry)
if yours then entry.turn = now + tonumber(ARGV[5]) end
insist()
write(ARGV[1], entry)
return shown(yours and 'yours' or 'rest', entry)
