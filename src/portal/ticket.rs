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
//! fields than these, a field given twice, and `null` make it malformed.
//!
//! # Test vectors
//!
//! For the secret `0123456789abcdef0123456789abcdef` under the key id `2026a`:
//!
//! ```text
//! K_mac   (hex) 8d251e2c87dcc995be4085b8a256c4dead10de462c1b649214d0e6017d1302d7
//! K_seal  (hex) 0073e2186bdf66f57834743d235a788f9988857446f913a3fbdda934c6d503c0
//! payload {"sid":"0123456789abcdef","sub":"ana","iat":1767225600,"exp":1767229200,"roles":["staff"],"name":"Ana Día","email":"ana@example.test"}
//! ticket  kw1.2026a.eyJzaWQiOiIwMTIzNDU2Nzg5YWJjZGVmIiwic3ViIjoiYW5hIiwiaWF0IjoxNzY3MjI1NjAwLCJleHAiOjE3NjcyMjkyMDAsInJvbGVzIjpbInN0YWZmIl0sIm5hbWUiOiJBbmEgRMOtYSIsImVtYWlsIjoiYW5hQGV4YW1wbGUudGVzdCJ9.W4s2FkZMug4K0ZZ6D7DhZCBYlN4x1UPq6pUb0BeTHB4
//! ```
//!
//! The same with the password `p&w #x` sealed under the nonce `000102030405060708090a0b`:
//!
//! ```text
//! cred    AAECAwQFBgcICQoLlu2rFwGgqkld8Ai3rh4dTJ3XpwvGag
//! ticket  kw1.2026a.eyJzaWQiOiIwMTIzNDU2Nzg5YWJjZGVmIiwic3ViIjoiYW5hIiwiaWF0IjoxNzY3MjI1NjAwLCJleHAiOjE3NjcyMjkyMDAsInJvbGVzIjpbInN0YWZmIl0sIm5hbWUiOiJBbmEgRMOtYSIsImVtYWlsIjoiYW5hQGV4YW1wbGUudGVzdCIsImNyZWQiOiJBQUVDQXdRRkJnY0lDUW9MbHUyckZ3R2dxa2xkOEFpM3JoNGRUSjNYcHd2R2FnIn0.CuDgq01T2YPJ9fhCfX-r7MTmR53A79IYMpOiy4PHfMM
//! ```

mod claims;
mod codec;
mod plain;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use memchr::memchr;
use secrecy::ExposeSecret;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use codec::Codec;

pub use claims::NewTicket;

use super::read_cookie_name;
use super::{
    Kind, NoPassword, Password, PortalSession, Scratch, Shown, SignedSession, Surroundings, Verdict, Verifier,
};
use crate::config::Section;
use crate::domain::{IdentityError, KeyMaterialError, Reason, Secret, UnixSeconds, key_material};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "ticket", build };

/// Longest ticket, in bytes.
const LONGEST_TICKET: usize = 8 * 1024;
/// Most cookies of one name whose signature is verified; the rest is as good as not sent. What names
/// no key of ours costs nothing and does not count, so that junk locks nobody out.
const MOST_VERIFIED: usize = 16;
/// Length of a MAC as it is written.
const MAC_CHARACTERS: usize = 43;
/// Length of an AES-GCM nonce, in bytes.
const NONCE: usize = 12;

/// Secrets that are printed in the documentation of this program.
const EXAMPLE_SECRETS: [&str; 2] =
    ["0123456789abcdef0123456789abcdef", "a secret of at least 32 bytes, shared with the portal"];

/// One signing key, ready for use.
pub struct TicketKey {
    id: String,
    /// HMAC with the key already absorbed: cloning it saves two hash blocks for each ticket.
    mac: Hmac<Sha256>,
    seal: Aes256Gcm,
}

/// Why a text cannot be a ticket key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketKeyError {
    /// The id stands in the ticket between dots.
    #[error("the id must have 1 to 64 of the characters A-Z a-z 0-9 - and _")]
    Id,
    /// The secret is none.
    #[error(transparent)]
    Secret(#[from] KeyMaterialError),
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
        let bytes = key_material(secret)?;
        let derive = |info: &str| {
            let mut key = [0; 32];
            // Fails only for keys of more than 8160 bytes.
            let _ = Hkdf::<Sha256>::new(None, &bytes).expand(info.as_bytes(), &mut key);
            key
        };
        let mac =
            Hmac::<Sha256>::new_from_slice(&derive("keyward ticket mac v1")).map_err(|_| KeyMaterialError::TooShort)?;
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
        let made = claims.iat;
        claims.into_session(0, made)?;
        let signed = format!("kw1.{}.{}", self.id, URL_SAFE_NO_PAD.encode(json));
        let mac = self.mac.clone().chain_update(&signed).finalize().into_bytes();
        let ticket = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac));
        if ticket.len() > LONGEST_TICKET { Err(MintError::TooLong) } else { Ok(ticket) }
    }

    fn signed_by_us(&self, signed: &str, mac: &str, codec: &Codec) -> bool {
        // Held against it as a text: there is but one way to write it, and writing ours takes less than reading theirs.
        let mut ours = [0; MAC_CHARACTERS];
        let made = self.mac.clone().chain_update(signed).finalize().into_bytes();
        let Ok(MAC_CHARACTERS) = codec.encode_slice(made, &mut ours) else { return false };
        let Ok(theirs) = <&[u8; MAC_CHARACTERS]>::try_from(mac.as_bytes()) else { return false };
        // Every character is looked at, so that the time tells nobody how many of theirs are right.
        let differing = ours.iter().zip(theirs).fold(0, |so_far, (ours, theirs)| so_far | (ours ^ theirs));
        differing.ct_eq(&0).into()
    }

    fn open(&self, sealed: &str, sid: &str) -> Option<Secret> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, message) = bytes.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: message, aad: sid.as_bytes() };
        let password = self.seal.decrypt(&Nonce::from(*nonce), payload).ok()?;
        // An empty password is an anonymous sign-in at many servers, so it is none.
        String::from_utf8(password).ok().filter(|password| !password.is_empty()).map(Secret::from)
    }
}

/// Why a ticket was not made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// It would be rejected at once.
    #[error("nobody would accept the ticket: {0}")]
    Claims(#[from] Rejection),
    /// More than 8 KiB.
    #[error("the ticket would be longer than 8 KiB, more than a cookie can carry")]
    TooLong,
}

/// Why exactly a ticket is rejected. The browser is told only [`Rejection::reason`].
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// More than 8 KiB.
    #[error("it is longer than 8 KiB")]
    TooLong,
    /// Not four parts, or the first is not `kw1`.
    #[error("it is not of the form kw1.key-id.payload.mac")]
    Shape,
    /// Nobody here has the key.
    #[error("no key of this id is known")]
    UnknownKey,
    /// Made with another key, or changed since.
    #[error("the mac is not the one that this key makes")]
    Mac,
    /// Padding, other characters, or loose bits at the end.
    #[error("the payload is not base64url without padding")]
    Encoding,
    /// No JSON object, or one with wrong, missing, doubled or unknown fields.
    #[error("the payload is not what a ticket holds: {0}")]
    Json(#[from] serde_json::Error),
    /// A JSON text that is no object.
    #[error("the payload is not a JSON object")]
    NoObject,
    /// `sid` is too short, too long, or holds control characters.
    #[error("sid must have 16 to 128 characters, none of them a control character")]
    SessionId,
    /// Who it names cannot be an identity.
    #[error("its claims cannot be used: {0}")]
    Identity(#[from] IdentityError),
    /// `exp` has come.
    #[error("it has expired")]
    Expired,
    /// `iat` is more than 60 seconds ahead.
    #[error("it was made in the future: iat is more than 60 seconds ahead of this clock")]
    FromTheFuture,
    /// `exp` does not lie behind `iat`.
    #[error("it ends before it begins: exp is not later than iat")]
    NeverValid,
}

impl Rejection {
    /// What the rest of the program makes of it.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Expired => Reason::Expired,
            _ => Reason::Forged,
        }
    }
}

fn split_at_dot(text: &str) -> Option<(&str, &str)> {
    let dot = memchr(b'.', text.as_bytes())?;
    Some((&text[..dot], &text[dot + 1..]))
}

/// Checks tickets of one portal.
pub struct Tickets {
    cookie: String,
    keys: Vec<TicketKey>,
    codec: Codec,
    /// The most that a ticket had left when it was shown, in seconds.
    longest_left: AtomicU64,
}

impl Tickets {
    /// A verifier for tickets in this cookie, signed with one of these keys.
    #[must_use]
    pub fn new(cookie: &str, keys: Vec<TicketKey>) -> Self {
        Self { cookie: cookie.to_owned(), keys, codec: codec::codec(), longest_left: AtomicU64::new(0) }
    }

    /// Reads the cookie's name and the keys out of a portal's section.
    pub fn read(section: &mut Section) -> Self {
        let cookie = read_cookie_name(section);
        let entries = section.sections("key", "id");
        if entries.is_empty() {
            section.mistake("key", "is missing; write [[portal.key]] with id and secret, or no ticket can be checked");
        }
        let mut ids = Vec::new();
        let mut keys = Vec::new();
        for mut entry in entries {
            let id = entry.required("id");
            if let Some(index) = ids.iter().position(|other| *other == id) {
                entry.used_before("id", index);
            }
            let given = entry.has("secret") || entry.has("secret_file");
            let place = if entry.has("secret_file") { "secret_file" } else { "secret" };
            let secret = entry.secret("secret", "secret_file");
            if secret.as_ref().is_some_and(|secret| EXAMPLE_SECRETS.contains(&secret.expose_secret())) {
                entry.warn(
                    place,
                    "is the one from the examples, which everybody knows; make your own: openssl rand -base64 48",
                );
            }
            match secret.map(|secret| TicketKey::new(&id, &secret)) {
                Some(Ok(key)) => keys.push(key),
                Some(Err(error @ TicketKeyError::Id)) => entry.mistake("id", &error.to_string()),
                Some(Err(error)) => entry.mistake(place, &error.to_string()),
                None if !given => entry.mistake("secret", "is missing; give secret or secret_file"),
                // What was given is a mistake, and it is noted.
                None => {}
            }
            ids.push(id);
            entry.finish();
        }
        Self::new(&cookie, keys)
    }

    /// The key of this id, or the one that mints: the first.
    #[must_use]
    pub fn key(&self, id: Option<&str>) -> Option<&TicketKey> {
        id.map_or_else(|| self.keys.first(), |id| self.keys.iter().find(|key| key.id == id))
    }

    /// The ids of all keys, in their order.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Looks at every ticket that a browser sent, in order.
    pub fn judge<'a>(&self, presented: &[&'a str], now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        // Nearly everybody brings one. Several are looked at twice, since what a verdict borrows
        // from the scratch memory ends with the next look.
        let ticket = match presented {
            [] => return Verdict::Rejected(Reason::NoSession),
            [ticket] => *ticket,
            several => match self.only_genuine(several, now, scratch) {
                Ok(ticket) => ticket,
                Err(reason) => return Verdict::Rejected(reason),
            },
        };
        match self.check(ticket, now, scratch) {
            Ok(session) => {
                let left = session.expires.saturating_sub(now);
                // Hardly ever written, so that all may read it at once.
                if left > self.longest_left.load(Ordering::Relaxed) {
                    self.longest_left.fetch_max(left, Ordering::Relaxed);
                }
                Verdict::Genuine(session)
            }
            Err(rejection) => Verdict::Rejected(rejection.reason()),
        }
    }

    /// Checks one ticket, the way of every request.
    ///
    /// # Errors
    /// [`Rejection`], the first of all that would apply.
    pub fn check<'a>(
        &self,
        ticket: &'a str,
        now: UnixSeconds,
        scratch: &'a mut Scratch,
    ) -> Result<PortalSession<'a>, Rejection> {
        let (key, payload) = self.check_signature(ticket)?;
        // In one piece at once: growing takes longer.
        scratch.payload = Vec::with_capacity(payload.len());
        self.codec.decode_vec(payload, &mut scratch.payload).map_err(|_| Rejection::Encoding)?;
        NewTicket::parse(&scratch.payload)?.into_session(key, now)
    }

    /// Checks the MAC before anything of the payload is looked at.
    fn check_signature<'a>(&self, ticket: &'a str) -> Result<(u16, &'a str), Rejection> {
        if ticket.len() > LONGEST_TICKET {
            return Err(Rejection::TooLong);
        }
        let after_version = ticket.strip_prefix("kw1.").ok_or(Rejection::Shape)?;
        let (id, rest) = split_at_dot(after_version).ok_or(Rejection::Shape)?;
        let (payload, mac) = split_at_dot(rest).ok_or(Rejection::Shape)?;
        if memchr(b'.', mac.as_bytes()).is_some() {
            return Err(Rejection::Shape);
        }
        let signed = &ticket[..ticket.len() - mac.len() - 1];
        let index = self.keys.iter().position(|key| key.id == id).ok_or(Rejection::UnknownKey)?;
        if !self.keys[index].signed_by_us(signed, mac, &self.codec) {
            return Err(Rejection::Mac);
        }
        Ok((u16::try_from(index).map_err(|_| Rejection::UnknownKey)?, payload))
    }

    /// The one genuine ticket among those presented. Two that differ mean that somebody planted
    /// one, and nobody can tell which. One that has expired is not genuine any more: a portal that
    /// once set its cookie for another path must not lock people out.
    fn only_genuine<'a>(
        &self,
        presented: &[&'a str],
        now: UnixSeconds,
        scratch: &mut Scratch,
    ) -> Result<&'a str, Reason> {
        let mut found: Option<&str> = None;
        let mut rejection = Reason::NoSession;
        let mut verified = 0;
        for ticket in presented {
            if verified == MOST_VERIFIED {
                break;
            }
            let checked = self.check(ticket, now, scratch);
            let unverified = matches!(checked, Err(Rejection::TooLong | Rejection::Shape | Rejection::UnknownKey));
            verified += usize::from(!unverified);
            match checked {
                Ok(_) if found.is_some_and(|other| other != *ticket) => return Err(Reason::Forged),
                Ok(_) => found = Some(ticket),
                Err(cause) if rejection != Reason::Expired => rejection = cause.reason(),
                Err(_) => {}
            }
        }
        found.ok_or(rejection)
    }
}

impl Verifier for Tickets {
    fn cookie(&self) -> &str {
        &self.cookie
    }

    fn verify<'a>(&'a self, shown: &Shown<'a>, now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        self.judge(&shown.values, now, scratch)
    }

    fn signed(&self, presented: &[&str]) -> Vec<SignedSession> {
        let read = |ticket: &&str| {
            let (_, payload) = self.check_signature(ticket).ok()?;
            let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
            let claims = NewTicket::parse(&json).ok()?;
            Some(SignedSession { id: claims.sid.into(), user: claims.sub.into(), expires: claims.exp })
        };
        presented.iter().take(MOST_VERIFIED).filter_map(read).collect()
    }

    fn longest_left(&self) -> u64 {
        self.longest_left.load(Ordering::Relaxed)
    }

    fn password(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        let Password::Sealed { key, text: Some(sealed) } = &session.password else { return Err(NoPassword::Absent) };
        let key = self.keys.get(usize::from(*key)).ok_or(NoPassword::Unreadable)?;
        key.open(sealed, session.id()).ok_or(NoPassword::Unreadable)
    }
}

fn build(section: &mut Section, _: &Surroundings) -> Box<dyn Verifier> {
    Box::new(Tickets::read(section))
}

#[cfg(test)]
mod tests;
