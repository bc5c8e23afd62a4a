-- ARGV: entry, the lease's fence.
local entry = read(ARGV[1])
if entry.given ~= tonumber(ARGV[2]) or entry.fence == entry.given then return { 0 } end
-- Said before, but whoever says it did not hear the answer.
if entry.lease == 0 then return { 1 } end
local waited = entry.waited
entry.lease, entry.waited, entry.holder = 0, 0, NOBODY
insist()
write(ARGV[1], entry)
return { waited }
