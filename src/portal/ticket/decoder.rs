//! What decodes payloads as `URL_SAFE_NO_PAD` does: with the instructions that a processor has for many bytes at once,
//! where the library knows them.

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
mod chosen {
    use base64::engine::{Simd, general_purpose::NO_PAD};

    pub type Decoder = Simd;

    pub fn decoder() -> Decoder {
        Simd::url_safe(NO_PAD)
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
mod chosen {
    use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};

    pub type Decoder = GeneralPurpose;

    pub const fn decoder() -> Decoder {
        URL_SAFE_NO_PAD
    }
}

pub(super) use chosen::{Decoder, decoder};
