-- ARGV: entry, fence of the keys, how long ago they were used, for how long they need not be, how old they may be.
local entry = read(ARGV[1])
if entry.sealed == '' or entry.fence ~= tonumber(ARGV[2]) then return { 'gone' } end
note_use(entry, tonumber(ARGV[3]))
if age(entry.used) >= tonumber(ARGV[4]) or age(entry.opened) >= tonumber(ARGV[5]) then
  return take_out(ARGV[1], entry)
end
insist()
write(ARGV[1], entry)
return shown('in use', entry)
