-- Notes how far a gateway has come, and tells where the log is. KEYS: log, meta. ARGV: field of the
-- gateway, incarnation and position that it has applied, milliseconds for which it counts. Returns
-- incarnation, last position and run id of the server; the incarnation is empty if there is no log, or
-- one that append.lua begins anew.
local inc = redis.call('HGET', KEYS[2], 'inc')
local last = redis.call('HGET', KEYS[2], 'last') or '0'
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not inc or redis.call('EXISTS', KEYS[1]) == 0 or top and top[1] ~= last .. '-0' then inc = '' end
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[4]
redis.call('HSET', KEYS[2], ARGV[1], table.concat({ARGV[2], ARGV[3], string.format('%.0f', ends)}, ' '))
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
return {inc, last, run}
