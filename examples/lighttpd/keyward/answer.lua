-- Before an answer goes to the browser.

local request = lighty.r
local variables, headers = request.req_env, request.resp_header

if variables["UPSTREAM_URI"] then
    -- lighttpd takes cookies for the browser from no answer that allows. Put beside the application's own.
    for _, variable in ipairs({ "SET_COOKIE_1", "SET_COOKIE_2" }) do
        local line = variables[variable]
        if line and line ~= "" then
            local others = headers["Set-Cookie"]
            headers["Set-Cookie"] = others and (others .. "\r\nSet-Cookie: " .. line) or line
        end
    end
    -- The address holds the application's key: it may go back to the application, and nowhere else.
    headers["Referrer-Policy"] = "same-origin"
    return 0
end

-- Nothing allowed it, and nothing of what Keyward says: it cannot be reached, or gave no answer in time.
local status = request.req_item["http_status"]
if status < 500 or headers["X-Keyward-Reason"] then
    return 0
end

-- Whether a person looks at the answer, as far as a request tells.
local asked = request.req_header
local method = request.req_attr["request.method"]
local mode = asked["Sec-Fetch-Mode"]
local html = (asked["Accept"] or ""):lower():find("text/html", 1, true)
local navigates = mode == "navigate" or (not mode and not asked["X-Requested-With"] and html)
local person = navigates and (method == "GET" or method == "HEAD" or method == "POST")

headers["Retry-After"] = "5"
headers["Cache-Control"] = "no-store"
if person then
    headers["Content-Type"] = "text/html; charset=utf-8"
    headers["Referrer-Policy"] = "no-referrer"
    request.resp_body:set([[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="5">
<title>One moment, please</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0; font: 1.1rem/1.5 system-ui, sans-serif; }
main { box-sizing: border-box; max-width: 37rem; margin: 12vh auto 2rem; padding: 0 min(1.5rem, 5vw); }
h1 { font-size: min(1.6rem, 12vw); line-height: 1.25; }
</style>
<main>
<h1>One moment, please</h1>
<p>The sign-in service cannot be reached right now. You stay signed in, and this page tries again by itself.</p>
<p><small>Reason: <code>keyward_unreachable</code></small></p>
</main>
</html>
]])
else
    headers["Content-Type"] = "application/json"
    request.resp_body:set('{"reason":"keyward_unreachable"}\n')
end
return 503
