//! Our own sign-in page: `/.keyward/login/<portal>?url=<where to go on to>`.
//!
//! Whoever asks for the form leaves nothing here. Its token is made of a cookie of its own, so that no other
//! site can sign anybody in, as themselves or as somebody else.

use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use url::form_urlencoded;

use super::credentials::{Outcome, Vouched};
use super::form::{self, Form};
use super::lockout::Place;
use super::sessions::random;
use super::{Ldap, directory::Directory, directory::Member};
use crate::domain::{Answered, Audience, Call, Desk, Reach, Reason, Reply, Secret, Service, SessionHandle, decode_hex};
use crate::pages::{Language, Message};
use crate::portal::Verifier;
use crate::portal::cookie_line::cookie_line;
use crate::portal::place::place_on;

/// How long a browser is known again, in seconds: a year.
const KNOWN_FOR: u32 = 365 * 24 * 3600;
/// Addresses that may lead to other origins.
const HAND_OVER: &str = "/.keyward/enter/";

impl Service for Ldap {
    fn takes(&self, reach: Reach, _method: &str, path: &str) -> bool {
        reach == Reach::Browsers && path == self.path
    }

    fn answer<'a>(&'a self, call: &'a Call<'a>, desk: &'a dyn Desk) -> BoxFuture<'a, Answered> {
        Box::pin(async move {
            let language = self.pages.speaking(&call.browser.client().accept_language);
            let visit = Visit { ldap: self, call, language, onward: self.onward(call) };
            Answered::Here(visit.answer(desk).await)
        })
    }
}

/// One request for the page.
struct Visit<'a> {
    ldap: &'a Ldap,
    call: &'a Call<'a>,
    language: &'a Language,
    /// Where to go on to, if the request names a place on this very origin.
    onward: Option<String>,
}

/// What somebody typed.
struct Typed {
    name: String,
    password: Secret,
    token: String,
}

impl Ldap {
    /// The address to go on to, from the query: on the same origin, or nowhere.
    fn onward(&self, call: &Call<'_>) -> Option<String> {
        let mut asked = form_urlencoded::parse(call.query.as_bytes()).filter(|(name, _)| name == "url");
        match (asked.next(), asked.next()) {
            (Some((_, asked)), None) => place_on(call.origin, &asked).filter(|place| !place.starts_with(&self.path)),
            _ => None,
        }
    }

    /// From where somebody tries, and whether their browser is known.
    pub(super) fn place(&self, call: &Call<'_>) -> Place {
        let (address, by) = (call.browser.client().address, "form");
        let shown = call.cookies.values(&self.known_cookie);
        let [one] = shown.as_slice() else { return Place { address, by, device_of: None, device: None } };
        let proven = one.split_once('.').and_then(|(device, rest)| {
            let (user, proof) = rest.split_once('.')?;
            let user = String::from_utf8(decode_hex(user)?).ok()?;
            is_same(&self.proof(device, &user), proof).then(|| (user, device.to_owned()))
        });
        let (device_of, device) = proven.unzip();
        Place { address, by, device_of, device }
    }

    /// What nobody but us can make.
    fn proof(&self, device: &str, user: &str) -> String {
        let mark = self.people.kept.mark(&self.name, &["device", device, user]);
        format!("{:032x}", u128::from_be_bytes(mark))
    }

    /// A cookie by which this browser is known again to be this person's.
    fn known_as(&self, member: &Member) -> Option<String> {
        let user = Directory::spelling(member.identity.user())?;
        let device = random();
        let hex: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{device}.{hex}.{}", self.proof(&device, &user)))
    }
}

impl Visit<'_> {
    async fn answer(&self, desk: &dyn Desk) -> Reply {
        let Self { ldap, call, language, .. } = self;
        let is_page = call.browser.audience("GET") == Audience::Page;
        if !self.call.is_secure() && ldap.sessions.cookie().starts_with("__") {
            tracing::error!(
                portal = ldap.name,
                "nobody can sign in over http with this cookie; set cookie, or see the web server's X-Forwarded-Proto"
            );
            return form::needs_https(language);
        }
        // Whom nobody can tell at the moment is shown the form.
        let _ = ldap.sessions.bring(&call.cookies.values(ldap.sessions.cookie())).await;
        match call.method {
            "GET" | "HEAD" if is_page => match self.who() {
                Some(user) => form::signed_in(language, &user, self.destination()),
                None => self.form(200, "", None),
            },
            "GET" | "HEAD" => Reply::json(401, &json!({ "reason": Reason::NoSession.as_str() })),
            "POST" => self.sign_in(desk).await,
            _ => Reply::json(405, &json!({ "reason": Reason::BadRequest.as_str() }))
                .header("allow", "GET, HEAD, POST".to_owned()),
        }
    }

    async fn sign_in(&self, desk: &dyn Desk) -> Reply {
        let Self { ldap, call, language, .. } = self;
        let Some(typed) = self.typed() else { return self.form(400, "", Some(Message::FormTooOld)) };
        if !self.is_ours(&typed.token) {
            if let Some(user) = self.who() {
                // Most likely they signed in on another tab meanwhile.
                return form::signed_in(language, &user, self.destination());
            }
            return self.form(403, &typed.name, Some(Message::FormTooOld));
        }
        let place = ldap.place(call);
        match ldap.credentials.check(&typed.name, typed.password.clone(), place).await {
            Outcome::Right(vouched) => self.let_in(&vouched, &typed, desk).await,
            Outcome::Wrong => self.form(403, &typed.name, Some(Message::WrongPassword)),
            Outcome::Wait(wait) => {
                let seconds = wait.as_secs() + 1;
                let (message, key, amount) = match seconds {
                    0..=90 => (Message::WaitSeconds, "seconds", seconds),
                    _ => (Message::WaitMinutes, "minutes", seconds.div_ceil(60)),
                };
                let trouble = language.html(message, &[(key, &amount.to_string())]);
                self.form_with(429, &typed.name, Some(trouble)).header("retry-after", seconds.to_string())
            }
            Outcome::Unreachable(retry_after) => self.later(&typed.name, retry_after.as_secs().max(1)),
        }
    }

    /// Always a new session, in the place of those that the browser has.
    async fn let_in(&self, vouched: &Vouched, typed: &Typed, desk: &dyn Desk) -> Reply {
        let Self { ldap, call, language, .. } = self;
        let user = vouched.member.identity.user();
        let Some(opened) = ldap.people.open(vouched, &typed.name, &typed.password).await else {
            return self.later("", 5);
        };
        for old in ldap.sessions.signed(&call.cookies.values(ldap.sessions.cookie())) {
            if old.id != opened.id {
                ldap.people.kept.end(&ldap.name, &old.id);
                desk.sign_out(&SessionHandle { portal: ldap.name.clone(), id: old.id });
            }
        }
        tracing::info!(portal = ldap.name, user, client = %call.browser.client().address, "signed in with a password");
        let onward = self.destination();
        let reply = match onward.starts_with(HAND_OVER) {
            true => form::onward(language, onward),
            false => Reply::see_other(onward.to_owned()),
        };
        let known =
            ldap.known_as(&vouched.member).map(|known| self.cookie(&ldap.known_cookie, &known, Some(KNOWN_FOR)));
        let reply = reply
            .header("set-cookie", self.cookie(ldap.sessions.cookie(), &opened.shown, None))
            .header("set-cookie", self.cookie(&ldap.form_cookie, "", Some(0)));
        known.into_iter().fold(reply, |reply, known| reply.header("set-cookie", known))
    }

    fn later(&self, name: &str, seconds: u64) -> Reply {
        self.form(503, name, Some(Message::DirectoryDown)).header("retry-after", seconds.to_string())
    }

    fn form(&self, status: u16, name: &str, trouble: Option<Message>) -> Reply {
        self.form_with(status, name, trouble.map(|message| self.language.html(message, &[])))
    }

    fn form_with(&self, status: u16, name: &str, trouble: Option<String>) -> Reply {
        let held = self.form_secret().map(str::to_owned);
        let secret = held.clone().unwrap_or_else(random);
        let action = match &self.onward {
            Some(onward) => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                format!("{}?{}", self.ldap.path, query.append_pair("url", onward).finish())
            }
            None => self.ldap.path.clone(),
        };
        let token = self.token(&secret);
        let reply = form::form(self.language, status, &Form { action: &action, token: &token, name, trouble });
        match held {
            Some(_) => reply,
            None => reply.header("set-cookie", self.cookie(&self.ldap.form_cookie, &secret, None)),
        }
    }

    /// Whether the form was sent by a page of ours, to the browser that got it.
    fn is_ours(&self, token: &str) -> bool {
        let header = |name| self.call.browser.header(name);
        let is_near = match (header("sec-fetch-site"), header("origin")) {
            // Somebody loads the answer once more, or a page of this origin sends it.
            (Some(site), _) => matches!(site, "same-origin" | "none"),
            (None, Some(origin)) => origin == self.call.origin,
            (None, None) => true,
        };
        is_near && self.form_secret().is_some_and(|secret| is_same(&self.token(secret), token))
    }

    /// Made of the cookie, so that nothing need be remembered, here or at another Keyward.
    fn token(&self, secret: &str) -> String {
        let mut mac = match Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
            Ok(mac) => mac,
            // HMAC takes a key of every length.
            Err(_) => return random(),
        };
        mac.update(b"keyward sign-in form v1 ");
        mac.update(self.ldap.name.as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The one cookie of the form, if it can be one of ours.
    fn form_secret(&self) -> Option<&str> {
        match self.call.cookies.values(&self.ldap.form_cookie).as_slice() {
            [one] if one.len() == 43 && one.bytes().all(|byte| byte.is_ascii_graphic()) => Some(one),
            _ => None,
        }
    }

    fn typed(&self) -> Option<Typed> {
        let kind = self.call.browser.header("content-type")?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return None;
        }
        let (mut name, mut password, mut token) = (None, None, None);
        for (key, value) in form_urlencoded::parse(self.call.body) {
            let place = match &*key {
                "name" => &mut name,
                "password" => &mut password,
                "form" => &mut token,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Typed { name: name?, password: Secret::from(password?), token: token? })
    }

    /// Who is signed in already.
    fn who(&self) -> Option<String> {
        let shown = self.call.cookies.values(self.ldap.sessions.cookie());
        let (_, held) = self.ldap.sessions.look_up(&shown, self.ldap.people.clock.unix()).ok()?;
        Some(held.identity.user().to_owned())
    }

    fn destination(&self) -> &str {
        self.onward.as_deref().unwrap_or(&self.ldap.settings.application)
    }

    fn cookie(&self, name: &str, value: &str, lives: Option<u32>) -> String {
        cookie_line(self.call, name, value, lives.map(u64::from))
    }
}

/// Compares without telling by its time where two texts differ.
fn is_same(one: &str, other: &str) -> bool {
    use subtle::ConstantTimeEq;
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
