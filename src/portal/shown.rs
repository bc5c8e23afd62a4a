use smallvec::SmallVec;

use crate::domain::Browser;

/// What a browser shows to one portal.
#[derive(Clone)]
pub struct Shown<'a> {
    /// Every value under the name of the portal's cookie, in order.
    pub values: SmallVec<[&'a str; 2]>,
    /// The one `Authorization` header, where it may count; see [`Verifier::verify`](super::Verifier::verify).
    pub authorization: Option<&'a str>,
    /// The browser, where one is known.
    pub browser: Option<&'a dyn Browser>,
}

impl<'a> Shown<'a> {
    /// A value alone, of which nobody knows from which browser it came.
    #[must_use]
    pub fn only(value: &'a str) -> Self {
        Self { values: SmallVec::from_slice(&[value]), authorization: None, browser: None }
    }

    /// The same for a shorter time. The list of values would not let the compiler shorten it by itself.
    #[must_use]
    pub fn reborrow(&self) -> Shown<'_> {
        let values = self.values.iter().copied().collect();
        Shown { values, authorization: self.authorization, browser: self.browser }
    }
}
