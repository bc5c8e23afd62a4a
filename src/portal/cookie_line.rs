use crate::domain::Call;

/// The `Set-Cookie` line of a cookie of ours for the host that was called, for so many seconds or until the
/// browser is closed. No script sees it, and another site sends it along only when somebody follows a link.
pub(super) fn cookie_line(call: &Call<'_>, name: &str, value: &str, lives: Option<u64>) -> String {
    let lives = lives.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let secure = if call.is_secure() { "; Secure" } else { "" };
    format!("{name}={value}; Path=/{lives}; HttpOnly; SameSite=Lax{secure}")
}
