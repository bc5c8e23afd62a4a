-- ARGV: entry, fence of the keys.
local entry = read(ARGV[1])
if entry.fence ~= tonumber(ARGV[2]) or not lasts(entry.turn) or entry.waited == 0 then return { 0 } end
entry.turn, entry.waited = 0, 0
insist()
write(ARGV[1], entry)
return { 1 }
