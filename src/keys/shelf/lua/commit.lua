-- ARGV: entry, the lease's fence, the sealed record, for how long it lives.
if is_ended() then return { 'revoked', 0 } end
local entry = read(ARGV[1])
local fence = tonumber(ARGV[2])
-- Said before, but whoever says it did not hear the answer.
if entry.fence == fence and entry.sealed ~= '' then return { 'kept', 1 } end
-- A server that has lost what it knew hears of the fence for the first time, and nobody has a later one.
if fence < entry.given or (fence == entry.given and entry.lease == 0) then return { 'superseded', 0 } end
local kept = vacant()
kept.fence, kept.given, kept.sealed = fence, fence, ARGV[3]
kept.since = entry.since > 0 and entry.since or fence
kept.opened, kept.confirmed, kept.used, kept.ends = now, now, now, now + tonumber(ARGV[4])
write(ARGV[1], kept)
return { 'kept', entry.waited }
