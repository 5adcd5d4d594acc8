-- Asks for each request which variant the visitor gets, by haproxy.cfg's own proxy `rampgate`, which has the address,
-- the key and the patience. Sets txn.rampgate_variant, _user and _cookie; without an answer none of them.

local URL = "http://127.0.0.1:8009/"
-- What the decision reads of the visitor's headers; the others need not travel.
local READ = { "cookie", "x-user-id", "rampgate-force" }
local SAID = { variant = "rampgate-variant", user = "rampgate-user", cookie = "set-cookie" }

local function first(headers, name)
  local values = headers and headers[name]
  return values and values[0]
end

core.register_action("rampgate", { "http-req" }, function(txn)
  local given, asked = txn.http:req_get_headers(), {}
  for _, name in ipairs(READ) do
    local value = first(given, name)
    asked[name] = value and { value }
  end
  local answer = core.httpclient():get({ url = URL, headers = asked })
  if answer.status ~= 204 then
    return
  end
  for name, header in pairs(SAID) do
    local value = first(answer.headers, header)
    if value then
      txn:set_var("txn.rampgate_" .. name, value)
    end
  end
end)
