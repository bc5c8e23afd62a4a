use std::ops::Range;
use std::sync::Arc;

/// A text that stands in its owner's own memory if it has at most `N` bytes, so that whoever has waited for its owner
/// has it, too. A longer one stands in a place of its own, which its copies share.
#[derive(Clone, PartialEq, Eq)]
pub struct ShortText<const N: usize>(Kept<N>);

#[derive(Clone, PartialEq, Eq)]
enum Kept<const N: usize> {
    /// What is behind the end is zero.
    Here {
        length: u8,
        bytes: [u8; N],
    },
    Elsewhere(Arc<str>),
}

impl<const N: usize> From<&str> for ShortText<N> {
    fn from(text: &str) -> Self {
        let mut bytes = [0; N];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(text.as_bytes());
                Self(Kept::Here { length, bytes })
            }
            _ => Self(Kept::Elsewhere(text.into())),
        }
    }
}

impl<const N: usize> ShortText<N> {
    /// All of it, for whoever need not know that it is text.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kept::Here { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Kept::Elsewhere(text) => text.as_bytes(),
        }
    }

    /// What stands there, or nothing where that is no text.
    #[must_use]
    pub fn part(&self, place: Range<usize>) -> &str {
        match &self.0 {
            Kept::Here { .. } => {
                let part = self.bytes().get(place).unwrap_or_default();
                std::str::from_utf8(part).unwrap_or_default()
            }
            Kept::Elsewhere(text) => text.get(place).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_of_any_length_comes_out_as_it_went_in(text in ".{0,40}", place in 0..64_usize, length in 0..64_usize) {
            let kept = ShortText::<16>::from(text.as_str());
            prop_assert_eq!(kept.bytes(), text.as_bytes());
            prop_assert_eq!(kept.part(0..text.len()), text.as_str());
            let place = place..place + length;
            prop_assert_eq!(kept.part(place.clone()), text.get(place).unwrap_or_default());
        }

        #[test]
        fn texts_are_equal_when_their_bytes_are(one in "[ab\0]{0,18}", other in "[ab\0]{0,18}") {
            let (short_one, short_other) = (ShortText::<16>::from(one.as_str()), ShortText::<16>::from(other.as_str()));
            prop_assert_eq!(short_one == short_other, one == other);
            prop_assert!(short_one.clone() == short_one);
        }
    }

    #[test]
    fn there_is_no_length_that_does_not_fit() {
        for length in [0, 15, 16, 17, 254, 255, 256, 257, 65_536] {
            let text = "x".repeat(length);
            assert_eq!(ShortText::<16>::from(text.as_str()).part(0..length), text);
            assert_eq!(ShortText::<300>::from(text.as_str()).part(0..length), text);
        }
    }
}
