-- ARGV: entry, fence of the keys, who takes them, how long ago they were used, for how long they need not be, how old
-- they may be.
local entry = read(ARGV[1])
local fence = tonumber(ARGV[2])
if entry.sealed == '' or entry.fence ~= fence then return taken_before(ARGV[1], fence, ARGV[3]) end
note_use(entry, tonumber(ARGV[4]))
if age(entry.used) >= tonumber(ARGV[5]) or age(entry.opened) >= tonumber(ARGV[6]) then
  return take_out(ARGV[1], entry, ARGV[3])
end
insist()
write(ARGV[1], entry)
return aged('in use', entry)
