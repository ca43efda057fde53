-- For wrk: asks with the bodies in a folder, one after the other; prints what was measured as a line of JSON.
-- wrk ... URL -- FOLDER COUNT; the folder has `headers` and the bodies 0, 1, 2, ...
local requests, turn = {}, 0

function init(args)
  local folder, headers = args[1], {}
  for line in io.lines(folder .. "/headers") do
    local name, value = line:match("^(.-): (.*)$")
    headers[name] = value
  end
  for number = 0, tonumber(args[2]) - 1 do
    local file = assert(io.open(folder .. "/" .. number, "rb"))
    requests[number] = wrk.format("POST", nil, headers, file:read("*a"))
    file:close()
  end
  -- Each run begins elsewhere.
  math.randomseed(os.time())
  turn = math.random(0, #requests)
end

function request()
  turn = (turn + 1) % (#requests + 1)
  return requests[turn]
end

function done(summary, latency, _)
  local failed = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f, "errors": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
