-- ARGV: entry, fence of the keys.
local entry = read(ARGV[1])
if entry.sealed == '' or entry.fence ~= tonumber(ARGV[2]) then return { 'gone' } end
return take_out(ARGV[1], entry)
