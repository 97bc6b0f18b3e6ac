-- Counts the gateways, and those that have applied a position. KEYS: meta. ARGV: incarnation,
-- position. Returns both counts, and the age of the log in milliseconds. Gateways that have not been
-- heard of for long are forgotten.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local nodes, confirmed, begun = 0, 0, now
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	local inc, position, ends = string.match(all[i + 1], '^(%S+) (%d+) (%d+)$')
	if all[i] == 'begun' then
		begun = tonumber(all[i + 1])
	elseif string.sub(all[i], 1, 5) == 'node ' then
		if not ends or tonumber(ends) < now then
			redis.call('HDEL', KEYS[1], all[i])
		else
			nodes = nodes + 1
			if inc == ARGV[1] and tonumber(position) >= tonumber(ARGV[2]) then confirmed = confirmed + 1 end
		end
	end
end
return {nodes, confirmed, now - begun}
