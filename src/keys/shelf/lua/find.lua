-- ARGV: entry.
local entry = read(ARGV[1])
if entry.sealed == '' then return { 'gone' } end
return shown('here', entry)
