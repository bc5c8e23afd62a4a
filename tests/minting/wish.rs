//! A ticket that is wanted, what this program makes of it, and what others must make of it.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use keyward::domain::{Clock, ExposeSecret, Secret, SystemClock, key_material};
use keyward::portal::ticket::{NewTicket, TicketKey, Tickets};
use keyward::portal::{Scratch, Verifier};
use serde_json::{Value, json};
use sha2::Sha256;

/// What the portal signs with.
pub const SECRET: &str = "a secret that only these tests and the portal know";
/// The name of a session.
pub const SID: &str = "0123456789abcdef";

/// A ticket that a portal wants.
#[derive(Clone, Debug)]
pub struct Wish {
    pub key_id: String,
    pub secret: String,
    pub sid: String,
    pub sub: String,
    pub iat: i64,
    pub exp: i64,
    pub roles: Vec<String>,
    pub name: String,
    pub email: String,
    pub password: Option<String>,
}

impl Wish {
    pub fn of(sub: &str) -> Self {
        let [key_id, secret, sid, sub] = ["2026a", SECRET, SID, sub].map(str::to_owned);
        let now = i64::try_from(SystemClock::new().unix()).unwrap();
        let (name, email) = (String::new(), String::new());
        Self { key_id, secret, sid, sub, iat: now, exp: now + 600, roles: vec![], name, email, password: None }
    }

    pub fn read(vector: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let claims = &vector["claims"];
        Self {
            key_id: text(&vector["key_id"]),
            secret: text(&vector["secret"]),
            sid: text(&claims["sid"]),
            sub: text(&claims["sub"]),
            iat: claims["iat"].as_i64().unwrap(),
            exp: claims["exp"].as_i64().unwrap(),
            roles: claims["roles"].as_array().into_iter().flatten().map(text).collect(),
            name: text(&claims["name"]),
            email: text(&claims["email"]),
            password: vector["password"].as_str().map(str::to_owned),
        }
    }

    /// As the examples read it.
    pub fn line(&self) -> String {
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("key_id", &self.key_id), ("secret", &self.secret), ("sid", &self.sid)] {
            fields.append_pair(name, value);
        }
        fields.append_pair("sub", &self.sub);
        fields.append_pair("iat", &self.iat.to_string()).append_pair("exp", &self.exp.to_string());
        fields.extend_pairs(self.roles.iter().map(|role| ("role", role)));
        for (name, value) in [("name", &self.name), ("email", &self.email)] {
            if !value.is_empty() {
                fields.append_pair(name, value);
            }
        }
        fields.extend_pairs(self.password.iter().map(|password| ("password", password)));
        fields.finish()
    }

    pub fn key(&self) -> Result<TicketKey, String> {
        TicketKey::new(&self.key_id, &Secret::from(&*self.secret)).map_err(|error| error.to_string())
    }

    /// By this program itself.
    pub fn mint(&self) -> Result<String, String> {
        let time = |at: i64| u64::try_from(at).map_err(|error| error.to_string());
        let mut claims = NewTicket::new(&*self.sid, &*self.sub, time(self.iat)?, time(self.exp)?);
        claims.roles = self.roles.iter().map(|role| role.as_str().into()).collect();
        claims.name = Some(self.name.as_str()).filter(|name| !name.is_empty()).map(Into::into);
        claims.email = Some(self.email.as_str()).filter(|email| !email.is_empty()).map(Into::into);
        let password = self.password.as_deref().map(Secret::from);
        self.key()?.mint(&claims, password.as_ref()).map_err(|error| error.to_string())
    }

    /// What a ticket must say whose password was sealed under this nonce.
    fn payload(&self, nonce: Option<[u8; 12]>) -> Value {
        let mut payload = json!({ "sid": self.sid, "sub": self.sub, "iat": self.iat, "exp": self.exp });
        if !self.roles.is_empty() {
            payload["roles"] = self.roles.clone().into();
        }
        for (name, value) in [("name", &self.name), ("email", &self.email)] {
            if !value.is_empty() {
                payload[name] = value.as_str().into();
            }
        }
        if let (Some(password), Some(nonce)) = (&self.password, nonce) {
            let mut key = [0; 32];
            let secret = key_material(&Secret::from(&*self.secret)).unwrap();
            Hkdf::<Sha256>::new(None, &secret).expand(b"keyward ticket seal v1", &mut key).unwrap();
            let message = Payload { msg: password.as_bytes(), aad: self.sid.as_bytes() };
            let sealed = Aes256Gcm::new(&key.into()).encrypt(&Nonce::from(nonce), message).unwrap();
            payload["cred"] = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()).into();
        }
        payload
    }

    /// Holds a ticket of this wish against what this program makes of it.
    pub fn check(&self, ticket: &str, whose: &str) {
        let told = || format!("{whose}: {self:?}: {ticket}");
        let tickets = Tickets::new("", vec![self.key().unwrap()]);
        let made = u64::try_from(self.iat).unwrap();
        let mut scratch = Scratch::default();
        let session = tickets.check(ticket, made, &mut scratch).unwrap_or_else(|why| panic!("{why}: {}", told()));
        assert_eq!((session.id(), session.identity().user()), (&*self.sid, &*self.sub), "{}", told());
        assert_eq!(session.identity().roles(), self.roles, "{}", told());
        assert_eq!(session.identity().name(), self.name, "{}", told());
        assert_eq!(session.identity().email(), self.email, "{}", told());
        assert_eq!(session.expires(), u64::try_from(self.exp).unwrap(), "{}", told());
        let password = tickets.password(&session).ok();
        assert_eq!(password.as_ref().map(|found| found.expose_secret()), self.password.as_deref(), "{}", told());

        let payload = ticket.split('.').nth(2).unwrap();
        let payload: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let nonce = payload["cred"].as_str().map(nonce_of);
        assert_eq!(payload, self.payload(nonce), "{}", told());
    }
}

fn nonce_of(sealed: &str) -> [u8; 12] {
    URL_SAFE_NO_PAD.decode(sealed).unwrap()[..12].try_into().unwrap()
}
