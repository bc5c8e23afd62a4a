//! Portal kind `ticket`: a cookie that the portal signs, in any language with its standard library.
//!
//! ```text
//! ticket  = "kw1" "." key-id "." payload "." mac
//! payload = base64url-no-pad( JSON {"sid": str, "sub": str, "iat": int, "exp": int,
//!                                   "roles": [str]?, "name": str?, "email": str?, "cred": str?} )
//! mac     = base64url-no-pad( HMAC-SHA256( K_mac, "kw1." key-id "." payload ) )
//! cred    = base64url-no-pad( nonce[12] || AES-256-GCM( K_seal, nonce, password, AAD = sid ), 16-byte tag last )
//! K_mac   = HKDF-SHA256(secret, salt = "", info = "keyward ticket mac v1", 32 bytes)
//! K_seal  = HKDF-SHA256(secret, salt = "", info = "keyward ticket seal v1", 32 bytes)
//! ```
//!
//! `sid` has 16 to 128 characters, the whole ticket at most 8 KiB. Times are Unix seconds: a ticket
//! is good until the second before `exp`, and `iat` may lie 60 seconds ahead of our clock. Other
//! fields than these, and a field given twice, make it malformed.
//!
//! # Test vectors
//!
//! For the secret `0123456789abcdef0123456789abcdef` under the key id `2026a`:
//!
//! ```text
//! K_mac   (hex) VECTOR_MAC_KEY
//! K_seal  (hex) VECTOR_SEAL_KEY
//! payload VECTOR_PLAIN_JSON
//! ticket  VECTOR_PLAIN_TICKET
//! ```
//!
//! The same with the password `p&w #x` sealed under the nonce `000102030405060708090a0b`:
//!
//! ```text
//! cred    VECTOR_CRED
//! ticket  VECTOR_CRED_TICKET
//! ```

use std::borrow::Cow;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Kind, NoPassword, PortalSession, Scratch, Verdict, Verifier};
use crate::config::Section;
use crate::domain::{Identity, Reason, Secret, UnixSeconds};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "ticket", build };

/// Longest ticket, in bytes.
const LONGEST_TICKET: usize = 8 * 1024;
/// Most cookies of one name that are looked at; the rest is as good as not sent.
const MOST_COOKIES: usize = 4;
/// How far `iat` may lie ahead of our clock, in seconds.
const CLOCK_SKEW: u64 = 60;
/// Length of an AES-GCM nonce, in bytes.
const NONCE: usize = 12;
/// Shortest secret, in bytes.
const SHORTEST_SECRET: usize = 32;

/// One signing key, ready for use.
pub struct TicketKey {
    id: String,
    /// HMAC with the key already absorbed: cloning it saves two hash blocks for each ticket.
    mac: Hmac<Sha256>,
    seal: Aes256Gcm,
}

/// Why a text can not be a ticket key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketKeyError {
    /// The id stands in the ticket between dots.
    #[error("the id must have 1 to 64 of the characters A-Z a-z 0-9 - and _")]
    Id,
    /// `base64:` or `hex:` in front of something else.
    #[error("the secret is not what its prefix base64: or hex: says")]
    Encoding,
    /// Short secrets are guessed.
    #[error("the secret must be at least 32 bytes long")]
    TooShort,
}

impl TicketKey {
    /// Derives both keys from a secret: `base64:…`, `hex:…`, or the bytes of the text itself.
    ///
    /// # Errors
    /// [`TicketKeyError`], which never repeats the secret.
    pub fn new(id: &str, secret: &Secret) -> Result<Self, TicketKeyError> {
        let id_fits = (1..=64).contains(&id.len());
        if !id_fits || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err(TicketKeyError::Id);
        }
        let text = secret.expose_secret();
        let bytes = if let Some(encoded) = text.strip_prefix("base64:") {
            STANDARD.decode(encoded.trim()).map_err(|_| TicketKeyError::Encoding)?
        } else if let Some(encoded) = text.strip_prefix("hex:") {
            decode_hex(encoded.trim()).ok_or(TicketKeyError::Encoding)?
        } else {
            text.as_bytes().to_vec()
        };
        if bytes.len() < SHORTEST_SECRET {
            return Err(TicketKeyError::TooShort);
        }
        let derive = |info: &str| {
            let mut key = [0; 32];
            // Fails only for keys of more than 8160 bytes.
            let _ = Hkdf::<Sha256>::new(None, &bytes).expand(info.as_bytes(), &mut key);
            key
        };
        let mac =
            Hmac::<Sha256>::new_from_slice(&derive("keyward ticket mac v1")).map_err(|_| TicketKeyError::TooShort)?;
        let seal = Aes256Gcm::new(&derive("keyward ticket seal v1").into());
        Ok(Self { id: id.to_owned(), mac, seal })
    }

    /// Makes a ticket. `password` is sealed into it where there is one.
    ///
    /// # Errors
    /// [`MintError`] for claims that this module would not accept.
    pub fn mint(&self, claims: &NewTicket<'_>, password: Option<&Secret>) -> Result<String, MintError> {
        self.mint_with_nonce(claims, password, rand::random())
    }

    fn mint_with_nonce(
        &self,
        claims: &NewTicket<'_>,
        password: Option<&Secret>,
        nonce: [u8; NONCE],
    ) -> Result<String, MintError> {
        let cred = match password {
            None => None,
            Some(password) => {
                let message = Payload { msg: password.expose_secret().as_bytes(), aad: claims.sid.as_bytes() };
                let sealed = self.seal.encrypt(&Nonce::from(nonce), message).map_err(|_| MintError::TooLong)?;
                Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
            }
        };
        let mut claims = claims.clone();
        claims.cred = cred.as_deref().map(Cow::Borrowed);
        let json = serde_json::to_string(&claims).map_err(|_| MintError::TooLong)?;
        claims.check().map_err(|_| MintError::Claims)?;
        let signed = format!("kw1.{}.{}", self.id, URL_SAFE_NO_PAD.encode(json));
        let mac = self.mac.clone().chain_update(&signed).finalize().into_bytes();
        let ticket = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac));
        if ticket.len() > LONGEST_TICKET { Err(MintError::TooLong) } else { Ok(ticket) }
    }

    fn signed_by_us(&self, signed: &str, mac: &str) -> bool {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(mac, &mut bytes) {
            Ok(32) => self.mac.clone().chain_update(signed).verify_slice(&bytes).is_ok(),
            _ => false,
        }
    }

    fn open(&self, sealed: &str, sid: &str) -> Option<Secret> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, message) = bytes.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: message, aad: sid.as_bytes() };
        let password = self.seal.decrypt(&Nonce::from(*nonce), payload).ok()?;
        String::from_utf8(password).ok().map(Secret::from)
    }
}

/// Why a ticket was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// See the module's text for what is allowed.
    #[error("sid must have 16 to 128 characters, sub must not be empty, nothing may hold control characters")]
    Claims,
    /// More than 8 KiB.
    #[error("the ticket would be longer than 8 KiB, more than a cookie can carry")]
    TooLong,
}

/// What a ticket says. Borrowed from the ticket where its JSON needs no unescaping.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewTicket<'a> {
    /// The portal's name for the session.
    #[serde(borrow)]
    pub sid: Cow<'a, str>,
    /// The user.
    #[serde(borrow)]
    pub sub: Cow<'a, str>,
    /// When it was made.
    pub iat: UnixSeconds,
    /// When it ends.
    pub exp: UnixSeconds,
    /// The user's roles.
    #[serde(borrow, default, deserialize_with = "roles", skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Cow<'a, str>>,
    /// The user's full name.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The user's e-mail address.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    cred: Option<Cow<'a, str>>,
}

/// `Vec<Cow<str>>` would copy every role; this borrows those that need no unescaping.
fn roles<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Role<'a>(#[serde(borrow)] Cow<'a, str>);
    let roles = Vec::<Role<'a>>::deserialize(deserializer)?;
    Ok(roles.into_iter().map(|Role(role)| role).collect())
}

impl<'a> NewTicket<'a> {
    /// The identity in it, if every field is what it must be.
    fn check(&self) -> Result<(), Reason> {
        let characters = self.sid.chars().count();
        if !(16..=128).contains(&characters) || self.sid.chars().any(char::is_control) {
            return Err(Reason::Forged);
        }
        Ok(())
    }

    fn into_session(self, key: u16) -> Result<PortalSession<'a>, Reason> {
        self.check()?;
        let identity =
            Identity::new(self.sub, self.name.unwrap_or_default(), self.email.unwrap_or_default(), self.roles)
                .map_err(|_| Reason::Forged)?;
        Ok(PortalSession { id: self.sid, identity, expires: self.exp, key, sealed_password: self.cred })
    }
}

/// Checks tickets of one portal.
pub struct Tickets {
    cookie: String,
    keys: Vec<TicketKey>,
}

impl Tickets {
    /// A verifier for tickets in this cookie, signed with one of these keys.
    #[must_use]
    pub fn new(cookie: &str, keys: Vec<TicketKey>) -> Self {
        Self { cookie: cookie.to_owned(), keys }
    }

    /// Checks the MAC before anything of the payload is looked at.
    fn check_signature<'a>(&self, ticket: &'a str) -> Result<(u16, &'a str), Reason> {
        if ticket.len() > LONGEST_TICKET {
            return Err(Reason::Forged);
        }
        let (signed, mac) = ticket.rsplit_once('.').ok_or(Reason::Forged)?;
        let mut parts = signed.split('.');
        let (version, id, payload) = (parts.next(), parts.next(), parts.next());
        let (Some("kw1"), Some(id), Some(payload), None) = (version, id, payload, parts.next()) else {
            return Err(Reason::Forged);
        };
        let index = self.keys.iter().position(|key| key.id == id).ok_or(Reason::Forged)?;
        if !self.keys[index].signed_by_us(signed, mac) {
            return Err(Reason::Forged);
        }
        Ok((u16::try_from(index).map_err(|_| Reason::Forged)?, payload))
    }

    /// The one genuine ticket among those presented. Two that differ mean that somebody planted
    /// one, and nobody can tell which.
    fn only_genuine<'a>(&self, presented: &[&'a str]) -> Result<(u16, &'a str), Reason> {
        let mut found: Option<(u16, &str, &str)> = None;
        let mut rejection = Reason::NoSession;
        for ticket in presented.iter().take(MOST_COOKIES) {
            match self.check_signature(ticket) {
                Ok((key, payload)) => match found {
                    Some((_, _, other)) if other != *ticket => return Err(Reason::Forged),
                    _ => found = Some((key, payload, ticket)),
                },
                Err(reason) => rejection = reason,
            }
        }
        found.map(|(key, payload, _)| (key, payload)).ok_or(rejection)
    }
}

impl Verifier for Tickets {
    fn cookie(&self) -> &str {
        &self.cookie
    }

    fn verify<'a>(&self, presented: &[&'a str], now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        match self.session(presented, now, scratch) {
            Ok(session) => Verdict::Genuine(session),
            Err(reason) => Verdict::Rejected(reason),
        }
    }

    fn password(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        let sealed = session.sealed_password.as_deref().ok_or(NoPassword::Absent)?;
        let key = self.keys.get(usize::from(session.key)).ok_or(NoPassword::Unreadable)?;
        key.open(sealed, session.id()).ok_or(NoPassword::Unreadable)
    }
}

impl Tickets {
    fn session<'a>(
        &self,
        presented: &[&'a str],
        now: UnixSeconds,
        scratch: &'a mut Scratch,
    ) -> Result<PortalSession<'a>, Reason> {
        let (key, payload) = self.only_genuine(presented)?;
        scratch.payload.clear();
        URL_SAFE_NO_PAD.decode_vec(payload, &mut scratch.payload).map_err(|_| Reason::Forged)?;
        let claims: NewTicket<'a> = serde_json::from_slice(&scratch.payload).map_err(|_| Reason::Forged)?;
        if claims.exp <= now {
            return Err(Reason::Expired);
        }
        if claims.iat > now.saturating_add(CLOCK_SKEW) || claims.iat > claims.exp {
            return Err(Reason::Forged);
        }
        claims.into_session(key)
    }
}

fn build(section: &mut Section) -> Box<dyn Verifier> {
    let cookie = section.required("cookie");
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !cookie.bytes().all(token) {
        section.mistake("cookie", "must be a cookie name: letters, digits, - and _");
    }
    let mut keys: Vec<TicketKey> = Vec::new();
    for mut entry in section.sections("key", "id") {
        let id = entry.required("id");
        if keys.iter().any(|key| key.id == id) {
            entry.mistake("id", "is used by two keys; give each its own");
        }
        match entry.secret("secret", "secret_file") {
            None if !entry.noted("secret") => entry.mistake("secret", "is missing; give secret or secret_file"),
            None => {}
            Some(secret) => match TicketKey::new(&id, &secret) {
                Ok(key) => keys.push(key),
                Err(error) => entry.mistake("secret", &error.to_string()),
            },
        }
        entry.finish();
    }
    if keys.is_empty() {
        section.mistake("key", "is missing; write [[portal.key]] with id and secret, or no ticket can be checked");
    }
    Box::new(Tickets::new(&cookie, keys))
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}
