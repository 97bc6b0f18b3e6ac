-- Takes tokens of buckets, and returns what is left of each, in thousandths of a token. KEYS: buckets.
-- ARGV: for each, thousandths of a token that it earns in a second, its size in thousandths of a
-- token, and what was taken, the same.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = {}
for i, key in ipairs(KEYS) do
	local rate, burst, used = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
	local tokens = burst
	local before, at = string.match(redis.call('GET', key) or '', '^(%S+) (%d+)$')
	if at then
		tokens = math.min(burst, tonumber(before) + math.max(now - tonumber(at), 0) * rate / 1000)
	end
	tokens = math.min(burst, math.max(tokens - used, -burst - 10 * rate))
	local full = math.ceil((burst - tokens) * 1000 / rate)
	redis.call('SET', key, string.format('%.3f %.0f', tokens, now), 'PX', math.min(full + 1000, 86400000))
	left[i] = string.format('%.0f', tokens)
end
return left
