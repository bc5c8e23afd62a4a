//! The provider's public keys, and what they signed.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::settings::fits;
use crate::wire::json_object;

/// Longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 64 * 1024;
/// Most keys that are taken from one set.
const MOST_KEYS: usize = 100;

/// A JSON Web Key Set (RFC 7517).
pub(super) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    /// What it is for, where it says so.
    algorithm: Option<String>,
    key: DecodingKey,
}

/// A token whose signature was checked.
#[derive(Debug)]
pub(super) struct Signed {
    pub algorithm: Algorithm,
    /// `typ` of its header (RFC 7515, section 4.1.9), in lower case and without `application/`.
    pub kind: Option<String>,
    pub claims: Value,
}

/// Why nothing follows from a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unverified {
    #[error("it is no signed token")]
    Malformed,
    #[error("it is signed with an algorithm that algorithms does not list")]
    Algorithm,
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
}

impl KeySet {
    /// Reads a key set. Keys of kinds that are not known here are left out: a provider may have others for
    /// other clients.
    pub(super) fn parse(document: &Value) -> Option<Self> {
        let keys = document.get("keys")?.as_array()?;
        Some(Self(keys.iter().take(MOST_KEYS).filter_map(key).collect()))
    }

    /// Checks the signature and reads the claims. The algorithm is one of `allowed`, whatever the token says
    /// of itself, and it must be one for the key's kind, so that no public key is taken for a shared secret.
    pub(super) fn verify(&self, token: &str, allowed: &[Algorithm]) -> Result<Signed, Unverified> {
        let (header, algorithm) = header(token, allowed)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(Unverified::Malformed)?;
        let key = self.key(header.get("kid"), algorithm)?;
        let is_good = jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key.key, algorithm);
        if !is_good.unwrap_or(false) {
            return Err(Unverified::Signature);
        }
        let payload = signed.split_once('.').map_or("", |(_, payload)| payload);
        let claims = json_object(payload).ok_or(Unverified::Malformed)?;
        let kind = header.get("typ").map(|kind| {
            let kind = kind.as_str().unwrap_or("?").to_ascii_lowercase();
            kind.strip_prefix("application/").map_or(kind.clone(), str::to_owned)
        });
        Ok(Signed { algorithm, kind, claims })
    }

    /// The key of this name. Where the token names none, the only one that fits.
    fn key(&self, id: Option<&Value>, algorithm: Algorithm) -> Result<&Key, Unverified> {
        let name = format!("{algorithm:?}");
        let fitting = self
            .0
            .iter()
            .filter(|key| fits(&key.key, algorithm) && key.algorithm.as_ref().is_none_or(|only| *only == name));
        match id {
            None => {
                let mut fitting = fitting;
                fitting.next().filter(|_| fitting.next().is_none()).ok_or(Unverified::UnknownKey)
            }
            Some(Value::String(id)) => {
                let mut named = fitting.filter(|key| key.id.as_ref() == Some(id));
                named.next().ok_or(Unverified::UnknownKey)
            }
            Some(_) => Err(Unverified::Malformed),
        }
    }
}

fn header(token: &str, allowed: &[Algorithm]) -> Result<(Value, Algorithm), Unverified> {
    if token.len() > LONGEST_TOKEN || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return Err(Unverified::Malformed);
    }
    let header = token.split('.').next().and_then(json_object).ok_or(Unverified::Malformed)?;
    // Nothing that must be understood is understood here (RFC 7515, section 4.1.11).
    if header.get("crit").is_some() {
        return Err(Unverified::Malformed);
    }
    let named = header.get("alg").and_then(Value::as_str).ok_or(Unverified::Malformed)?;
    let algorithm = allowed.iter().find(|one| format!("{one:?}") == named).copied();
    Ok((header, algorithm.ok_or(Unverified::Algorithm)?))
}

fn key(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str).map(str::to_owned);
    let encrypts = text("use").is_some_and(|what| what != "sig");
    let verifies = jwk.get("key_ops").and_then(Value::as_array).is_none_or(|all| all.iter().any(|one| one == "verify"));
    if encrypts || !verifies || text("kty").as_deref() == Some("oct") {
        return None;
    }
    let parsed: Jwk = serde_json::from_value(jwk.clone()).ok()?;
    let key = DecodingKey::from_jwk(&parsed).ok()?;
    Some(Key { id: text("kid"), algorithm: text("alg"), key })
}
