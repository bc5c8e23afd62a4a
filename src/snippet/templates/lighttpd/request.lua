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
@NAMES@    ["x-axigen-session"] = true,
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
