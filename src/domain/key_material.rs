use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::{Secret, decode_hex};

/// Shortest secret, in bytes.
const SHORTEST: usize = 32;

/// Why a text cannot be the secret from which keys are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyMaterialError {
    /// `base64:` or `hex:` in front of something else.
    #[error("the secret is not what its prefix base64: or hex: says")]
    Encoding,
    /// Short secrets are guessed.
    #[error("the secret must be at least 32 bytes long")]
    TooShort,
}

/// The bytes of a secret: `base64:…`, `hex:…`, or those of the text itself.
///
/// # Errors
/// [`KeyMaterialError`], which never repeats the secret.
pub fn key_material(secret: &Secret) -> Result<Vec<u8>, KeyMaterialError> {
    let text = secret.expose_secret();
    let bytes = if let Some(encoded) = text.strip_prefix("base64:") {
        STANDARD.decode(encoded.trim()).map_err(|_| KeyMaterialError::Encoding)?
    } else if let Some(encoded) = text.strip_prefix("hex:") {
        decode_hex(encoded.trim()).ok_or(KeyMaterialError::Encoding)?
    } else {
        text.as_bytes().to_vec()
    };
    if bytes.len() < SHORTEST { Err(KeyMaterialError::TooShort) } else { Ok(bytes) }
}
