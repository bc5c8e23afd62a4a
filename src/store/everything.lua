-- For tests: every key of the server, and what stands there.
local read = {
  string = { 'GET' },
  hash = { 'HGETALL' },
  zset = { 'ZRANGE', 0, -1 },
  set = { 'SMEMBERS' },
  list = { 'LRANGE', 0, -1 },
  stream = { 'XRANGE', '-', '+' },
}
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local how = read[redis.call('TYPE', key).ok]
  all[#all + 1] = { key, redis.call(how[1], key, unpack(how, 2)) }
end
return all
