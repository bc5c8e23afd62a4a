//! A house for every kind of portal.

mod introspect;
mod ldap;
mod oidc;
mod one_time_token;
mod registered;
mod ticket;

use futures_util::future::LocalBoxFuture;

use crate::play::{Play, play};
use crate::table::Row;

type Playing = for<'a> fn(&'a [Row]) -> LocalBoxFuture<'a, Play>;

/// By the name of the kind.
pub const HOUSES: &[(&str, Playing)] = &[
    ("ticket", play::<ticket::Ticket>),
    ("registered", play::<registered::Registered>),
    ("introspect", play::<introspect::Introspect>),
    ("oidc", play::<oidc::Oidc>),
    ("ldap", play::<ldap::Ldap>),
    ("one-time-token", play::<one_time_token::OneTimeToken>),
];

/// Where a portal's own page is, which leads back to this address.
fn login_elsewhere(back: &str) -> String {
    let encoded = percent_encoding::utf8_percent_encode(back, percent_encoding::NON_ALPHANUMERIC);
    format!("https://portal.example.test/login?next={encoded}")
}

/// The line for it.
const LOGIN_URL: &str = "login_url = \"https://portal.example.test/login?next={url}\"";

/// Our own page of the portal.
fn login_here(origin: &str, back: &str) -> String {
    let encoded = percent_encoding::utf8_percent_encode(back, percent_encoding::NON_ALPHANUMERIC);
    format!("{origin}/.keyward/login/{}?url={encoded}", crate::portal::NAME)
}
