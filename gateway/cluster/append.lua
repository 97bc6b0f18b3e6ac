-- Appends purges to the log. KEYS: log, meta. ARGV: incarnation to begin, length of the log,
-- incarnation that the gateway follows and the last position that it knows to be given away there,
-- positions that are skipped where the server was started since, then body and mac of each purge.
-- Returns incarnation, last position, and the run id of the server.
--
-- A log that has lost purges, or ends elsewhere than noted, is begun anew: everybody notices.
local inc = redis.call('HGET', KEYS[2], 'inc')
local last = tonumber(redis.call('HGET', KEYS[2], 'last') or 0)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local skipped = 0
local function add(...)
	local position = last + skipped + 1
	redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], string.format('%.0f-0', position), 'prev', string.format('%.0f', last), ...)
	last, skipped = position, 0
end
if not inc or inc == ARGV[3] and tonumber(ARGV[4]) > last or redis.call('EXISTS', KEYS[1]) == 0 or top and top[1] ~= string.format('%.0f-0', last) then
	redis.call('DEL', KEYS[1])
	inc, last = ARGV[1], 0
	local time = redis.call('TIME')
	redis.call('HSET', KEYS[2], 'begun', time[1] * 1000 + math.floor(time[2] / 1000))
	add('begin', inc)
elseif redis.call('HGET', KEYS[2], 'run') ~= run then
	skipped = tonumber(ARGV[5]) -- what a server before may have given away and lost
end
for i = 6, #ARGV, 2 do
	add('body', ARGV[i], 'mac', ARGV[i + 1])
end
if skipped == 0 then -- else the next purge must skip them
	redis.call('HSET', KEYS[2], 'inc', inc, 'run', run, 'last', string.format('%.0f', last))
end
return {inc, string.format('%.0f', last), run}
