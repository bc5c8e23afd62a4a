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
end

return 0
