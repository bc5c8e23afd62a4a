-- Asks Keyward about a request, and hands its refusals on. haproxy.cfg calls it so:
--
--     http-request lua.keyward <address of Keyward> <seconds> <header of user>,<of name>,<of email>,<of groups>
--
-- What comes of a yes stands in variables of the transaction whose names begin with keyward_, and haproxy.cfg writes
-- it into the request. Only where keyward_allowed is set was it one. Whatever goes wrong here, be it an error in this
-- file, leaves that unset, and haproxy.cfg lets nothing through then.

-- Nothing of the client's request goes along but these, and what question() writes.
local PASSED = {
    "cookie", "accept", "accept-language", "user-agent", "origin",
    "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "x-requested-with",
}

-- Of a yes: the header and its variable.
local TAKEN = {
    ["x-upstream-uri"] = "uri",
    ["x-upstream-cookie"] = "cookie",
    ["x-upstream-authorization"] = "authorization",
    ["x-axigen-session"] = "axigen_session",
    ["x-set-cookie-1"] = "set_cookie_1",
    ["x-set-cookie-2"] = "set_cookie_2",
}

-- The variables of the headers that are named in haproxy.cfg.
local IDENTITY = { "user", "name", "email", "groups" }

-- Of a no: what the browser gets, beside the body.
local HANDED_ON = {
    "location", "content-type", "content-language", "content-security-policy", "cache-control", "referrer-policy",
    "retry-after", "set-cookie", "vary", "www-authenticate", "x-content-type-options", "x-keyward-login",
}
local REFUSALS = { [302] = true, [401] = true, [403] = true, [503] = true }

-- HAProxy counts the lines of one header from 0.
local function each(lines, take)
    local at = 0
    while lines ~= nil and lines[at] ~= nil do
        take(lines[at])
        at = at + 1
    end
end

-- An empty value is as none: the header is not sent then.
local function keep(txn, name, lines)
    each(lines, function(line)
        if line ~= "" then txn:set_var("txn.keyward_" .. name, line) end
    end)
end

local function question(txn)
    local lines = { "GET /authz/forward-auth HTTP/1.1", "Host: keyward", "Connection: close" }
    local function say(name, value)
        if value ~= nil then lines[#lines + 1] = name .. ": " .. value end
    end
    say("X-Forwarded-Method", txn.sf:method())
    say("X-Forwarded-Proto", txn:get_var("txn.keyward_scheme"))
    say("X-Forwarded-Host", txn:get_var("txn.keyward_host"))
    say("X-Forwarded-Uri", txn.sf:pathq())
    say("X-Forwarded-For", txn.sf:src())
    say("X-Request-ID", txn:get_var("txn.keyward_request_id"))
    -- Unset, and so left out, but where haproxy.cfg wants it.
    say("Authorization", txn:get_var("txn.keyward_credentials"))
    local sent = txn.http:req_get_headers()
    for _, name in ipairs(PASSED) do
        each(sent[name], function(line) say(name, line) end)
    end
    return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- HAProxy's own client (core.httpclient) would keep its connections. But it asks four times where it gets no answer
-- or a 503, and nothing can stop it: four logins for one request, and four times as long until somebody is told.
local function ask(address, patience, text)
    local socket = core.tcp()
    socket:settimeout(patience)
    if not socket:connect(address) or not socket:send(text) then return nil end
    local status = tonumber((socket:receive("*l") or ""):match("^HTTP/1%.1 (%d%d%d)"))
    local headers = {}
    while status do
        local line = socket:receive("*l")
        -- Cut off: half an answer is none.
        if not line then return nil end
        if line == "" or line == "\r" then break end
        local name, value = line:match("^([^:%s]+):[ \t]*(.-)[ \t\r]*$")
        if not name then return nil end
        local known = headers[name:lower()] or {}
        known[known[0] and #known + 1 or 0] = value
        headers[name:lower()] = known
    end
    local length = headers["content-length"] and tonumber(headers["content-length"][0]) or 0
    local body = length > 0 and socket:receive(length) or ""
    socket:close()
    if not status or #body ~= length then return nil end
    return { status = status, headers = headers, body = body }
end

local function hand_on(txn, answer)
    local reply = txn:reply({ status = answer.status })
    for _, name in ipairs(HANDED_ON) do
        each(answer.headers[name], function(line) reply:add_header(name, line) end)
    end
    reply:set_body(answer.body)
    txn:done(reply)
end

core.register_action("keyward", { "http-req" }, function(txn, address, patience, identity)
    local answer = ask(address, tonumber(patience), question(txn))
    local headers = answer and answer.headers or {}
    keep(txn, "reason", headers["x-keyward-reason"])
    if answer and answer.status == 200 and headers["x-upstream-uri"] then
        for header, variable in pairs(TAKEN) do
            keep(txn, variable, headers[header])
        end
        local at = 1
        for header in identity:gmatch("[^,]+") do
            keep(txn, IDENTITY[at], headers[header:lower()])
            at = at + 1
        end
        txn:set_var("txn.keyward_allowed", "yes")
    elseif answer and REFUSALS[answer.status] and headers["x-keyward-reason"] then
        -- What has no reason does not come from Keyward.
        hand_on(txn, answer)
    end
end, 3)
