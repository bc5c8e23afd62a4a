//! Tickets that nobody has thought of.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn no_text_panics_or_is_believed(text in ".{0,200}", more in ".{0,50}") {
        prop_assert!(verdict(&[&text], MADE).is_err());
        prop_assert!(verdict(&[&text, &more], MADE).is_err());
        let in_shape = format!("kw1.2026a.{text}.{more}");
        prop_assert!(verdict(&[&in_shape], MADE).is_err());
    }

    #[test]
    fn no_signed_bytes_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(verdict(&[&signed(&payload)], MADE).is_err());
    }

    #[test]
    fn no_sealed_bytes_panic_or_open(sealed in ".{0,80}") {
        prop_assert!(key("2026a", SECRET).open(&sealed, SID).is_none());
    }
}
