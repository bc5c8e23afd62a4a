-- ARGV: entry, fence of the keys, for how long they live from now on, the sealed record of those in their place.
if is_ended() then return { 'gone' } end
local entry = read(ARGV[1])
local fence = tonumber(ARGV[2])
if entry.sealed == '' or entry.fence ~= fence then return { 'gone' } end
if ARGV[4] ~= '' then
  -- The next fence, for which they are sealed. A lease never has it, unless the server's clock went back.
  if entry.given == fence + 1 then return { 'gone' } end
  entry.fence, entry.sealed = fence + 1, ARGV[4]
  entry.given = math.max(entry.given, entry.fence)
end
local waited = entry.waited
entry.confirmed, entry.turn, entry.waited, entry.ends = now, 0, 0, now + tonumber(ARGV[3])
insist()
write(ARGV[1], entry)
return { 'kept', entry.fence, waited }
