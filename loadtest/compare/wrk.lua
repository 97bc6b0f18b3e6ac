-- With an argument, sends that many requests at once.
init = function(args)
  local n = tonumber(args[1]) or 1
  if n > 1 then
    local several = string.rep(wrk.format(), n)
    request = function() return several end
  end
end

-- Prints what a round gave as whole numbers, times in microseconds.
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d %d\n",
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
