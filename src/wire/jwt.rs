use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde_json::{Value, json};

/// A key for JSON web tokens with the one algorithm HS256 (RFC 7515, RFC 7518 section 3.2).
///
/// Only the signature is left to the library: it would look at times that these tokens need not have, and
/// at no `crit`.
pub struct Hs256 {
    signs: EncodingKey,
    checks: DecodingKey,
}

impl Hs256 {
    /// A key of any length; short ones are guessed.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { signs: EncodingKey::from_secret(key), checks: DecodingKey::from_secret(key) }
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({ "alg": "HS256", "typ": "JWT" }), claims)
    }

    fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        // Fails only for a key of another kind; a token without a signature is good nowhere.
        let signature = crypto::sign(signed.as_bytes(), &self.signs, Algorithm::HS256).unwrap_or_default();
        format!("{signed}.{signature}")
    }

    /// The claims of a token that was signed with this key. Its times are not looked at.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        if !crypto::verify(signature, signed.as_bytes(), &self.checks, Algorithm::HS256).ok()? {
            return None;
        }
        let (header, _) = signed.split_once('.')?;
        let header = json_object(header)?;
        // The algorithm is ours to choose, never the token's.
        (header.get("alg")?.as_str() == Some("HS256") && header.get("crit").is_none()).then(|| claims(token)).flatten()
    }
}

/// The claims of a token, whoever signed it: only for one that came straight from whom it speaks for.
#[must_use]
pub fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then(|| json_object(payload)).flatten()
}

/// One part of a token, if it is a JSON object.
#[must_use]
pub fn json_object(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
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
        let claims = json!({"sub": "ana"});
        let signed_as = |header: Value| key().sign_with(&header, &claims);
        let (none, _) =
            signed_as(json!({"alg": "none"})).rsplit_once('.').map(|(a, b)| (format!("{a}."), b.len())).unwrap();
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
