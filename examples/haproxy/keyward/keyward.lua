-- Asks Keyward about a request, and hands its refusals on. haproxy.cfg calls it so:
--
--     http-request lua.keyward <address of Keyward> <milliseconds> <header of user>,<of name>,<of email>,<of groups>
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
    local headers = {
        ["host"] = { "keyward" },
        ["x-forwarded-method"] = { txn.sf:method() },
        ["x-forwarded-proto"] = { txn:get_var("txn.keyward_scheme") },
        ["x-forwarded-host"] = { txn:get_var("txn.keyward_host") },
        ["x-forwarded-uri"] = { txn.sf:pathq() },
        ["x-forwarded-for"] = { txn.sf:src() },
        ["x-request-id"] = { txn:get_var("txn.keyward_request_id") },
        -- Unset, and so left out, but where haproxy.cfg wants it.
        ["authorization"] = { txn:get_var("txn.keyward_credentials") },
    }
    local sent = txn.http:req_get_headers()
    for _, name in ipairs(PASSED) do
        local lines = {}
        each(sent[name], function(line) lines[#lines + 1] = line end)
        headers[name] = lines
    end
    return headers
end

local function hand_on(txn, answer)
    local reply = txn:reply({ status = answer.status })
    for _, name in ipairs(HANDED_ON) do
        each(answer.headers[name], function(line) reply:add_header(name, line) end)
    end
    reply:set_body(answer.body or "")
    txn:done(reply)
end

core.register_action("keyward", { "http-req" }, function(txn, address, patience, identity)
    local answer = core.httpclient():get({
        url = "http://" .. address .. "/authz/forward-auth",
        headers = question(txn),
        timeout = tonumber(patience),
    })
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
        -- Without a reason it is HAProxy itself that says 503 or 504, because nobody else did.
        hand_on(txn, answer)
    end
end, 3)
