if is_ended() then return {} end
return list()
