-- ARGV: entry, fence of the keys, how long ago they were used, interval, how long a turn is.
if is_ended() then return { 'gone' } end
local entry = read(ARGV[1])
local fence, interval = tonumber(ARGV[2]), tonumber(ARGV[4])
-- What is there was begun by somebody who did not know of these, since the server did not.
if fence < entry.since or fence > entry.given then return { 'unknown' } end
if has_record(entry) and entry.fence > fence then return shown('newer', entry) end
-- They have been there, so somebody has taken them out.
if not has_record(entry) or entry.fence ~= fence then return { 'gone' } end
note_use(entry, tonumber(ARGV[3]))
local answer = aged('rest', entry)
if age(entry.confirmed) >= interval * 0.85 and entry.used > entry.confirmed then
  local left = math.max(remaining(entry.turn), remaining(entry.lease))
  if left > 0 then
    entry.waited = 1
    answer = { 'theirs', left }
  else
    entry.turn = now + tonumber(ARGV[5])
    answer = { 'yours' }
  end
end
insist()
write(ARGV[1], entry)
return answer
