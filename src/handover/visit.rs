use url::Url;

use crate::domain::{Browser, Cookies, Reason, Secret, WayIn};
use crate::keys::NoKeys;

/// Somebody at the door of an application.
pub struct Visit<'a> {
    /// The back-end's name.
    pub backend: &'a str,
    /// The origin that was asked, such as `https://portal.example.test`.
    pub origin: &'a Url,
    /// The browser's cookies.
    pub cookies: &'a Cookies<'a>,
    /// The browser.
    pub browser: &'a dyn Browser,
    /// Where it wants to go in place of the application.
    pub return_to: Option<&'a str>,
    /// What it comes for.
    pub step: Step<'a>,
}

/// The steps of a hand-over. Within one domain the first is the only one. From one domain to another
/// the browser starts at the portal's host, is greeted at the application's, where it is given a state
/// to be known by, gets a token for that state at the portal's host, and redeems it at the application's.
#[derive(Clone, Copy)]
pub enum Step<'a> {
    /// Into the application, by whatever way leads there from here.
    Start,
    /// Give this browser a state; a page of this origin will have a token made for it.
    Greet(&'a str),
    /// Make a token for a browser.
    Mint {
        /// The mark of the browser's state.
        mark: &'a str,
        /// The origin at which it was greeted, where it says so.
        at: Option<&'a str>,
    },
    /// Redeem a token.
    Redeem {
        /// The token.
        token: &'a str,
        /// The state that the browser was given.
        state: Option<&'a str>,
    },
    /// Only open the application: it has its cookies already.
    Open,
}

/// What becomes of a visit. Its addresses may hold keys, so it prints nothing of itself.
pub enum Arrival {
    /// In: these cookies, and there.
    Inside {
        /// For the application's host.
        cookies: Vec<Given>,
        /// Where to go.
        location: String,
    },
    /// The way leads through another address.
    Onward(String),
    /// The way leads through the application's own host.
    Across {
        /// For browsers that follow redirects.
        onward: String,
        /// For scripts, where pages of this origin may ask there by themselves.
        at: Option<WayIn>,
    },
    /// The browser is known here for a minute.
    Greeted {
        /// What it is to be known by, for it alone.
        state: Secret,
        /// The mark of it.
        mark: String,
        /// Where a token is made for it.
        onward: String,
    },
    /// A token.
    Token {
        /// Itself.
        token: Secret,
        /// Where it can be redeemed.
        at: WayIn,
    },
    /// Somebody must sign in.
    SignIn {
        /// Why.
        reason: Reason,
        /// The portal's sign-in page, with the way back in it.
        login: String,
    },
    /// The token is not good, or not for this browser.
    Stranger {
        /// Where to begin again.
        again: String,
    },
    /// No, or not now.
    Refused(NoKeys),
    /// No route leads to such a back-end.
    Unknown,
}

/// A cookie for the browser.
pub struct Given {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// The parent domain it is for; otherwise the host alone.
    pub domain: Option<String>,
}

/// A cookie that is to go, by name and domain.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub name: String,
    /// The parent domain it was for; otherwise the host alone.
    pub domain: Option<String>,
}
