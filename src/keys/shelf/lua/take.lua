-- ARGV: entry, fence of the keys, who takes them.
local entry = read(ARGV[1])
local fence = tonumber(ARGV[2])
if entry.sealed == '' or entry.fence ~= fence then return taken_before(ARGV[1], fence, ARGV[3]) end
return take_out(ARGV[1], entry, ARGV[3])
