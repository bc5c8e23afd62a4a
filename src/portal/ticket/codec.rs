//! What encodes and decodes as `URL_SAFE_NO_PAD` does: with the instructions that a processor has for many bytes at once,
//! where the library knows them.

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
mod chosen {
    use base64::engine::{Simd, general_purpose::NO_PAD};

    pub type Codec = Simd;

    pub fn codec() -> Codec {
        Simd::url_safe(NO_PAD)
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
mod chosen {
    use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};

    pub type Codec = GeneralPurpose;

    pub const fn codec() -> Codec {
        URL_SAFE_NO_PAD
    }
}

pub(super) use chosen::{Codec, codec};
