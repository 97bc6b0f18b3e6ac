-- Notes how far a gateway has come, and tells where the log is. KEYS: log, meta. ARGV: field of the
-- gateway, incarnation and position that it has applied, the last position that it knows to be given
-- away, milliseconds for which it counts. Returns incarnation, last position and run id of the server;
-- the incarnation is empty if there is no log, or one that append.lua begins anew.
local inc = redis.call('HGET', KEYS[2], 'inc')
local last = redis.call('HGET', KEYS[2], 'last') or '0'
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local applied = ARGV[3]
if not inc or redis.call('EXISTS', KEYS[1]) == 0 or top and top[1] ~= last .. '-0' then
	inc = ''
elseif inc == ARGV[2] and tonumber(ARGV[4]) > tonumber(last) then
	inc, applied = '', '0' -- the server has lost purges
end
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[5]
redis.call('HSET', KEYS[2], ARGV[1], table.concat({ARGV[2], applied, string.format('%.0f', ends)}, ' '))
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
return {inc, last, run}
