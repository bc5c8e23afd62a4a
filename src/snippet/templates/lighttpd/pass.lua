-- Before Keyward is asked, and once more after it has allowed: now its answer is there, and everything for the
-- application comes from it.

local request = lighty.r
local variables, headers = request.req_env, request.req_header
local path = request.req_attr["uri.path"]

-- Keyward's own pages: the path that is sent is the path by which lighttpd found them, and all of it is plain.
-- As it came it might be a question, "/authz/ext-authz/../../.keyward/x", whose answer has keys in it.
if path:find("^/%.keyward/") then
    if path:find("[^%w/_.-]") then
        return 403
    end
    local query = request.req_attr["uri.query"]
    request.req_attr["request.uri"] = (query and query ~= "") and (path .. "?" .. query) or path
    return 0
end

local address = variables["UPSTREAM_URI"]
if not address then
    if variables["KEYWARD_ASKED"] then
        return 403
    end
    variables["KEYWARD_ASKED"] = "yes"
    return 0
end

local function give(header, variable)
    local value = variables[variable]
    headers[header] = value ~= "" and value or nil
end

-- The path as it was judged, with the key in its query.
request.req_attr["request.uri"] = address
-- The cookies less the portal's. Authorization only where the application takes one from us, never the client's.
give("Cookie", "UPSTREAM_COOKIE")
give("Authorization", "UPSTREAM_AUTHORIZATION")
give("X-Axigen-Session", "AXIGEN_SESSION")
@GIVE@
return 0
