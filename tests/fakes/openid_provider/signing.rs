//! Keys of the provider and what they sign. Nothing here checks what is signed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

#[derive(Clone)]
pub struct SigningKey {
    pub kid: String,
    pub algorithm: Algorithm,
    key: EncodingKey,
}

impl SigningKey {
    /// Of 2048 bits, for RS256.
    pub fn rsa(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
        let der = pair.map(|pair| pair.serialize_der()).unwrap_or_default();
        // What stands within the PKCS #8 structure, whose beginning is as long for every such key.
        Self { kid: kid.to_owned(), algorithm: Algorithm::RS256, key: EncodingKey::from_rsa_der(&der[26..]) }
    }

    /// P-256, for ES256.
    pub fn elliptic(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        let der = pair.map(|pair| pair.serialize_der()).unwrap_or_default();
        Self { kid: kid.to_owned(), algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(&der) }
    }

    /// The public half, as it is published.
    pub fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).map(|jwk| json!(jwk));
        let mut jwk = jwk.unwrap_or_default();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The header of its tokens.
    pub fn header(&self) -> Value {
        json!({ "alg": format!("{:?}", self.algorithm), "typ": "JWT", "kid": self.kid })
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    /// With this header, true or not.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm);
        format!("{signed}.{}", signature.unwrap_or_default())
    }
}

/// One part of a token.
pub fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}
