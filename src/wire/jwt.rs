use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A key for JSON web tokens with the one algorithm HS256 (RFC 7515, RFC 7518 section 3.2).
///
/// Written here because the libraries for it bring RSA along, which `deny.toml` forbids, or a C library;
/// what is left of them without is what stands here.
pub struct Hs256(Hmac<Sha256>);

impl Hs256 {
    /// A key of any length; short ones are guessed.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        // RFC 2104: one longer than a block is hashed, a shorter one is filled up.
        let mut block = [0; 64];
        match block.get_mut(..key.len()) {
            Some(start) => start.copy_from_slice(key),
            None => block[..32].copy_from_slice(&Sha256::digest(key)),
        }
        Self(Hmac::new(&block.into()))
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256", "typ": "JWT" }).to_string());
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mac = self.0.clone().chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// The claims of a token that was signed with this key. Its times are not looked at.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<Value> {
        let (signed, mac) = token.rsplit_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.0.clone().chain_update(signed).verify_slice(&mac).ok()?;
        let (header, _) = signed.split_once('.')?;
        let header = part(header)?;
        // The algorithm is ours to choose, never the token's.
        (header.get("alg")?.as_str() == Some("HS256") && header.get("crit").is_none()).then(|| claims(token)).flatten()
    }
}

/// The claims of a token, whoever signed it: only for one that came straight from whom it speaks for.
#[must_use]
pub fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then(|| part(payload)).flatten()
}

fn part(text: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.1.
    const KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn key() -> Hs256 {
        Hs256::new(&URL_SAFE_NO_PAD.decode(KEY).unwrap())
    }

    #[test]
    fn the_token_of_the_standard_is_genuine() {
        let expected = json!({"iss": "joe", "exp": 1_300_819_380, "http://example.com/is_root": true});
        assert_eq!(key().verify(TOKEN), Some(expected.clone()));
        assert_eq!(claims(TOKEN), Some(expected.clone()));
        assert_eq!(key().verify(&key().sign(&expected)), Some(expected));
    }

    #[test]
    fn whatever_else_is_not() {
        let encode = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let payload = encode(json!({"sub": "ana"}));
        let none = format!("{}.{payload}.", encode(json!({"alg": "none"})));
        let signed_as = |header: Value| {
            let signed = format!("{}.{payload}", encode(header));
            let mac = key().0.clone().chain_update(&signed).finalize().into_bytes();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
        };
        let (head, _) = TOKEN.rsplit_once('.').unwrap();
        for token in [
            none,
            signed_as(json!({"alg": "none"})),
            signed_as(json!({"alg": "HS512"})),
            signed_as(json!({"typ": "JWT"})),
            signed_as(json!({"alg": "HS256", "crit": ["exp"]})),
            Hs256::new(b"another key").sign(&json!({"sub": "ana"})),
            format!("{head}."),
            format!("{TOKEN}x"),
            format!("{TOKEN}.x"),
            "..".to_owned(),
            String::new(),
        ] {
            assert_eq!(key().verify(&token), None, "{token}");
        }
    }
}
