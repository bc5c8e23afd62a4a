-- Before Keyward is asked, and once more after it has allowed: what clients say of themselves is not believed,
-- by nobody.

local request = lighty.r
local headers = request.req_header

local method = request.req_attr["request.method"]
if method == "TRACE" or method == "CONNECT" then
    return 405
end

-- Names as many applications see them: for those Remote_User is the same as Remote-User.
local not_for_clients = {
    ["remote-user"] = true,
    ["remote-name"] = true,
    ["remote-email"] = true,
    ["remote-groups"] = true,
    ["forwarded"] = true,
    ["proxy"] = true,
    ["x-forwarded-for"] = true,
    ["x-forwarded-host"] = true,
    ["x-forwarded-method"] = true,
    ["x-forwarded-port"] = true,
    ["x-forwarded-prefix"] = true,
    ["x-forwarded-proto"] = true,
    ["x-forwarded-server"] = true,
    ["x-forwarded-uri"] = true,
    ["x-forwarded-user"] = true,
    ["x-host"] = true,
    ["x-original-method"] = true,
    ["x-original-uri"] = true,
    ["x-original-url"] = true,
    ["x-real-ip"] = true,
    ["x-request-id"] = true,
    ["x-rewrite-url"] = true,
    ["x-set-cookie-1"] = true,
    ["x-set-cookie-2"] = true,
    ["x-upstream-authorization"] = true,
    ["x-upstream-cookie"] = true,
    ["x-upstream-uri"] = true,
    ["x-webobjects-remote-user"] = true,
    ["x-axigen-session"] = true,
}

local gone = {}
for name in pairs(headers) do
    local seen = name:lower():gsub("[^%w]", "-")
    if not_for_clients[seen] then
        gone[#gone + 1] = name
    end
end
for _, name in ipairs(gone) do
    headers[name] = nil
end

-- Only WebSocket may switch protocols.
local upgrade = headers["Upgrade"]
if upgrade and upgrade:lower() ~= "websocket" then
    headers["Upgrade"] = nil
end

return 0
