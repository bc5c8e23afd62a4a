//! The hash in the names of the cookies: MD5 over the parts in their order, Base64, and of that only
//! letters, digits and `_`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    let mut text = STANDARD.encode(md5.finalize());
    text.retain(|c| c.is_ascii_alphanumeric() || c == '_');
    text
}

/// The hash of the secret's and the session's cookie.
pub fn name_hash(user_agent: &[u8], client: &str, headers: &[&[u8]], salt: &str) -> String {
    let parts = [user_agent, client.as_bytes()];
    hash(parts.into_iter().chain(headers.iter().copied()).chain([salt.as_bytes()]))
}

/// The hash of the public session's cookie.
pub fn public_hash(user_agent: &[u8], context: u32, user: u32, headers: &[&[u8]], salt: &str) -> String {
    let (context, user) = (context.to_string(), user.to_string());
    let parts = [user_agent, context.as_bytes(), user.as_bytes()];
    hash(parts.into_iter().chain(headers.iter().copied()).chain([salt.as_bytes()]))
}
