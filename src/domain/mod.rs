//! The nouns every room speaks: identity, client, session keys, secret, clock.
//!
//! A value of these types is already checked: an [`Identity`] with a line break in it, or
//! [`SessionKeys`] that would break a header, cannot exist, so nobody checks again later.

mod account_refusal;
mod api_key;
mod backend_terms;
mod client;
mod clock;
mod cookies;
mod derivation;
mod enter_terms;
mod identity;
mod key_material;
mod listen_address;
mod login_name;
mod outage;
mod password_keeper;
mod person;
mod reason;
mod service;
mod session_keys;
mod settled_clock;
mod short_text;
mod text;
mod url_key;

pub use account_refusal::AccountRefusal;
pub use api_key::ApiKey;
pub use backend_terms::{BackendLimits, CredentialSource};
#[cfg(test)]
pub use client::ScriptedBrowser;
pub use client::{Audience, Browser, Client};
pub use clock::{Clock, ManualClock, Moment, SystemClock, UnixSeconds};
pub use cookies::Cookies;
pub use derivation::DerivationKey;
pub use enter_terms::{EnterTerms, LONGEST_RETURN, RETURN_PARAMETER, WayIn};
pub use identity::{Identity, IdentityError};
pub use key_material::{KeyMaterialError, key_material};
pub use listen_address::ListenAddress;
pub use login_name::{LoginName, LoginNameError};
pub use outage::Outage;
pub use password_keeper::PasswordKeeper;
pub use person::{Person, SessionHandle};
pub use reason::{Reason, Ruling};
pub use secrecy::{ExposeSecret, SecretString as Secret};
pub use service::{Answered, Call, Desk, KnownAs, Reach, Reply, Service, Unclear};
pub use session_keys::{SessionKeys, SessionKeysBuilder, SessionKeysError};
pub use settled_clock::SettledClock;
pub use short_text::ShortText;
pub use text::{decode_hex, escape, is_control, is_printable, is_token};
pub use url_key::UrlKey;
