//! Tickets, good ones by the portal's own code and bad ones by hand.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use keyward::domain::{Clock, Secret, SystemClock};
use keyward::portal::ticket::{NewTicket, TicketKey};
use sha2::Sha256;

/// What a portal signs with, and the cookie it puts its tickets in.
#[derive(Clone, Copy, Debug)]
pub struct PortalKey {
    pub name: &'static str,
    pub cookie: &'static str,
    pub id: &'static str,
    pub secret: &'static str,
}

/// The portal of `app.example.test`.
pub const APP_PORTAL: PortalKey =
    PortalKey { name: "office", cookie: "office_session", id: "2026a", secret: "0123456789abcdef0123456789abcdef" };
/// The portal of `mail.example.test`. Its key has the same id as the other's.
pub const MAIL_PORTAL: PortalKey =
    PortalKey { name: "post", cookie: "post_session", id: "2026a", secret: "fedcba9876543210fedcba9876543210" };

impl PortalKey {
    /// Signs any text as this portal would.
    pub fn sign(&self, payload: impl AsRef<[u8]>) -> String {
        let mut derived = [0; 32];
        Hkdf::<Sha256>::new(None, self.secret.as_bytes()).expand(b"keyward ticket mac v1", &mut derived).unwrap();
        self.sign_with(&derived, payload)
    }

    /// Signs any text with a key that may be the wrong one.
    pub fn sign_with(&self, key: &[u8], payload: impl AsRef<[u8]>) -> String {
        let signed = format!("kw1.{}.{}", self.id, URL_SAFE_NO_PAD.encode(payload));
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }
}

/// The present, as tickets have it.
pub fn now() -> u64 {
    SystemClock::new().unix()
}

/// The right password of everybody in the tests.
pub fn password_of(user: &str) -> String {
    format!("the right password of {user}")
}

/// A ticket to be made.
#[derive(Clone)]
pub struct Ticket {
    portal: PortalKey,
    user: String,
    sid: String,
    roles: Vec<String>,
    name: Option<String>,
    email: Option<String>,
    password: Option<String>,
    valid: u64,
}

impl Ticket {
    /// A good one of the portal of `app.example.test`, with the right password.
    pub fn of(user: &str) -> Self {
        let sid = format!("{:032x}", rand::random::<u128>());
        let password = Some(password_of(user));
        let user = user.to_owned();
        Self { portal: APP_PORTAL, user, sid, roles: vec![], name: None, email: None, password, valid: 3600 }
    }

    pub fn portal(self, portal: PortalKey) -> Self {
        Self { portal, ..self }
    }

    pub fn sid(self, sid: &str) -> Self {
        Self { sid: sid.to_owned(), ..self }
    }

    pub fn roles(self, roles: &[&str]) -> Self {
        Self { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..self }
    }

    pub fn name(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    pub fn email(self, email: &str) -> Self {
        Self { email: Some(email.to_owned()), ..self }
    }

    pub fn password(self, password: &str) -> Self {
        Self { password: Some(password.to_owned()), ..self }
    }

    pub fn without_password(self) -> Self {
        Self { password: None, ..self }
    }

    /// Seconds until it ends.
    pub fn valid(self, valid: u64) -> Self {
        Self { valid, ..self }
    }

    pub fn mint(&self) -> String {
        let key = TicketKey::new(self.portal.id, &Secret::from(self.portal.secret)).unwrap();
        let made = now();
        let mut claims = NewTicket::new(self.sid.as_str(), self.user.as_str(), made, made + self.valid);
        claims.roles = self.roles.iter().map(|role| role.as_str().into()).collect();
        claims.name = self.name.as_deref().map(Into::into);
        claims.email = self.email.as_deref().map(Into::into);
        let password = self.password.as_deref().map(Secret::from);
        key.mint(&claims, password.as_ref()).unwrap()
    }

    /// The cookie that brings it.
    pub fn cookie(&self) -> String {
        format!("{}={}", self.portal.cookie, self.mint())
    }
}
