//! Kind `zimbra`: Zimbra Collaboration, signed in without a password, by preauth.
//!
//! Zimbra shares a key with us (`zmprov generateDomainPreAuthKey`) and opens a session for whomever a
//! message authenticated with it names. What is documented stands in Zimbra's `preauth.md`; what was
//! seen, in the source of its `PreAuthServlet`, `SoapServlet` and `EndSession`. Nobody has tried this
//! against a running Zimbra; the tests use a stand-in made from those.
//!
//! - A good message is answered with a cookie and a redirect (documented). The cookie is called
//!   `ZM_AUTH_TOKEN` (seen).
//! - Everything that Zimbra itself does not like is 400 and a sentence (seen). The sentences are not
//!   published, so those of a refusal are a setting. Two clocks that are more than five minutes apart
//!   (documented) are answered likewise, and so is an LDAP server that is down (seen): nobody's refusal.
//! - The server may send an account to the one that holds it, with `isredirect=1` (seen). What we send
//!   opens the mailbox to whoever has it, so it goes to servers of the configuration only.
//! - Checks and sign-outs are SOAP requests in JSON. Faults come with 500 and a code (seen); that the
//!   cookie alone suffices, without a CSRF token, is assumed: tokens that preauth makes ask for none.

mod preauth;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use self::preauth::{By, Preauth};
use super::{Attempt, Backend, Kind, Liveness, Login, Outage, Refusal};
use crate::config::Section;
use crate::domain::{ExposeSecret, Secret, SessionKeys, SessionKeysBuilder};
use crate::wire::{Answer, Location, Request, Wire, form_encoded};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "zimbra", build };

/// How far apart the clocks may be, in seconds (documented).
const CLOCKS_APART: u64 = 300;
/// Cookies that Zimbra takes for a session, whatever `cookie` says (seen).
const TOKENS: [&str; 3] = ["ZM_AUTH_TOKEN", "ZM_ADMIN_AUTH_TOKEN", "ZM_JWT"];
/// How every sentence about Zimbra's own troubles begins (seen in `ServiceException`).
const FAILURE: &str = "system failure";
/// The key in the examples.
const PUBLISHED: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const KEY_REMEDY: &str = "is missing, and there is no default; write what \
                          \"zmprov generateDomainPreAuthKey example.test\" prints, or its file as preauth_key_file";

fn build(section: &mut Section, wire: Wire) -> Box<dyn Backend> {
    let key = preauth_key(section);
    let texts = |section: &mut Section, key, default: &[&str]| {
        let texts = section.texts(key).unwrap_or_else(|| default.iter().map(|text| (*text).to_owned()).collect());
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            section.mistake(key, "must name at least one text, and no empty one");
        }
        texts
    };
    let by = [("name", By::Name), ("id", By::Id), ("foreignPrincipal", By::ForeignPrincipal)];
    Box::new(Zimbra {
        preauth: Preauth {
            key: key.unwrap_or_else(|| "".into()),
            by: section.choice("by", By::Name, &by),
            expires: section.has("expires").then(|| section.duration("expires", std::time::Duration::from_secs(1))),
        },
        cookie: cookie(section),
        login_path: path(section, "login_path", "/service/preauth"),
        keep_alive_path: path(section, "keep_alive_path", "/service/soap/NoOpRequest"),
        logout_path: path(section, "logout_path", "/service/soap/EndSessionRequest"),
        refused_texts: lower(texts(section, "refused_texts", &["authentication failed", "account"])),
        locked_texts: lower(texts(section, "locked_texts", &["maintenance mode"])),
        dead_codes: texts(section, "dead_codes", &["service.AUTH_EXPIRED", "service.AUTH_REQUIRED"]),
        home_servers: section.urls("home_servers").into_iter().map(|url| wire.to(url)).collect(),
        wire,
    })
}

fn lower(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().map(|text| text.to_lowercase()).collect()
}

fn preauth_key(section: &mut Section) -> Option<Secret> {
    let key = section.secret("preauth_key", "preauth_key_file");
    match &key {
        Some(key) if key.expose_secret() == PUBLISHED => {
            section.warn("preauth_key", "is the one from the examples, which everybody knows");
        }
        // 32 random bytes (documented).
        Some(key) if key.expose_secret().len() != 64 => {
            section.warn("preauth_key", "is not as long as what zmprov prints: 64 hexadecimal digits");
        }
        None if !section.noted("preauth_key") && !section.noted("preauth_key_file") => {
            section.mistake("preauth_key", KEY_REMEDY);
        }
        _ => {}
    }
    key
}

fn cookie(section: &mut Section) -> String {
    let name = section.text("cookie").unwrap_or_else(|| TOKENS[0].to_owned());
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        section.mistake("cookie", "must be a cookie's name: letters, digits, '-' and '_'");
    }
    name
}

fn path(section: &mut Section, key: &'static str, default: &str) -> String {
    let Some(text) = section.text(key) else { return default.to_owned() };
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && !b"?#".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(plain) {
        section.mistake(key, &format!("must be a path such as {default:?}, without a query"));
    }
    text
}

struct Zimbra {
    preauth: Preauth,
    /// `cookie`: `ZM_AUTH_TOKEN` (seen).
    cookie: String,
    /// `login_path`: `/service/preauth` (documented).
    login_path: String,
    /// `keep_alive_path`: where a `NoOpRequest` is sent, `/service/soap/NoOpRequest` (assumed: the
    /// documented `/service/soap` takes the request's name behind it).
    keep_alive_path: String,
    /// `logout_path`: where an `EndSessionRequest` is sent, likewise.
    logout_path: String,
    /// `refused_texts`: words of a 400 that is about the account, in lower case (assumed).
    refused_texts: Vec<String>,
    /// `locked_texts`: words of a 400 that is about an account for a while, in lower case: one that is
    /// being moved or restored is in maintenance mode (seen).
    locked_texts: Vec<String>,
    /// `dead_codes`: codes of a fault that say that there is no session (seen).
    dead_codes: Vec<String>,
    /// `home_servers`: where accounts may be sent on to.
    home_servers: Vec<Wire>,
    wire: Wire,
}

impl Backend for Zimbra {
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        Box::pin(self.sign_in(attempt))
    }

    fn foresees(&self, attempt: &Attempt) -> Option<Refusal> {
        attempt.login.is_empty().then_some(Refusal::Credentials)
    }

    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        Box::pin(async {
            let answer = self.soap(&self.keep_alive_path, keys, "NoOpRequest", json!({ "_jsns": MAIL })).await?;
            let body = answer.json().and_then(|mut json| json.get_mut("Body").map(Value::take)).unwrap_or_default();
            match (answer.status(), fault(&body)) {
                (200, None) if body.get("NoOpResponse").is_some() => Ok(Liveness::Alive),
                (_, Some(code)) if self.dead_codes.iter().any(|dead| dead == code) => Ok(Liveness::Dead),
                _ => Err(answer.outage().unwrap_or_else(|| strange(&answer, "a check"))),
            }
        })
    }

    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        Box::pin(async {
            let request = json!({ "_jsns": ACCOUNT, "logoff": true });
            let answer = self.soap(&self.logout_path, keys, "EndSessionRequest", request).await?;
            // A fault is an answer, too: there is no session to end.
            let answered = answer.json().is_some_and(|json| json.get("Body").is_some());
            answer.outage().filter(|_| !answered).map_or(Ok(()), Err)
        })
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        let decoded = std::borrow::Cow::from(percent_encoding::percent_decode(name));
        let name = decoded.trim_ascii();
        let mut owned = TOKENS.into_iter().chain([self.cookie.as_str()]);
        owned.any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    fn wants_password(&self) -> bool {
        false
    }
}

const MAIL: &str = "urn:zimbraMail";
const ACCOUNT: &str = "urn:zimbraAccount";

impl Zimbra {
    async fn sign_in(&self, attempt: &Attempt) -> Result<Login, Outage> {
        let values = self.preauth.values(&attempt.login, self.wire.clock().unix());
        let first = self.ask(&self.wire, &values, attempt).await?;
        let Some(home) = self.sent_on(&first)? else { return self.judge(&first) };
        let again: Vec<(&str, String)> = [("isredirect", "1".to_owned())].into_iter().chain(values).collect();
        let second = self.ask(home, &again, attempt).await?;
        self.judge(&second)
    }

    async fn ask(&self, server: &Wire, values: &[(&str, String)], attempt: &Attempt) -> Result<Answer, Outage> {
        let fields: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let client = &attempt.client;
        let request = Request::get(format!("{}?{}", self.login_path, form_encoded(&fields)))
            .header("user-agent", &client.user_agent)
            .header("x-forwarded-for", client.address.to_string().as_bytes());
        server.send(&request).await?.or_outage()
    }

    /// The server that holds the account, where it is another one than was asked.
    fn sent_on(&self, answer: &Answer) -> Result<Option<&Wire>, Outage> {
        if !answer.redirects() || self.token(answer).is_some() {
            return Ok(None);
        }
        match answer.location() {
            Some(location @ Location::Here { .. }) => {
                Ok((location.query_value("isredirect").as_deref() == Some("1")).then_some(&self.wire))
            }
            Some(Location::Elsewhere) => {
                let home = self.home_servers.iter().find(|home| answer.leads_to(home.base()));
                home.map(Some).ok_or_else(|| {
                    Outage::Protocol(
                        "it sends this account to another server; name that server in home_servers, or set url or \
                         host to what it calls itself"
                            .to_owned(),
                    )
                })
            }
            _ => Ok(None),
        }
    }

    fn judge(&self, answer: &Answer) -> Result<Login, Outage> {
        match (answer.status(), answer.location(), self.token(answer)) {
            (302 | 303, Some(Location::Here { .. }), Some(token)) => {
                let keys = SessionKeys::builder().cookie(&self.cookie, &token).and_then(SessionKeysBuilder::build);
                keys.map(Login::Opened).map_err(|error| Outage::Protocol(error.to_string()))
            }
            (302 | 303, Some(Location::Here { .. }), None) => {
                Err(Outage::Protocol(format!("it set no cookie {}; see cookie", self.cookie)))
            }
            (400, ..) => self.refused(answer).map(Login::Refused),
            _ => Err(strange(answer, "a login")),
        }
    }

    fn refused(&self, answer: &Answer) -> Result<Refusal, Outage> {
        if answer.server_time().abs_diff(self.wire.clock().unix()) >= CLOCKS_APART {
            return Err(Outage::Protocol("its clock and ours are more than five minutes apart; set them".to_owned()));
        }
        let text = answer.text().to_lowercase();
        let says = |texts: &[String]| texts.iter().any(|known| text.contains(known));
        if text.contains(FAILURE) {
            return Err(Outage::Unreachable(
                "it reports a failure of its own, such as an LDAP server that is down".into(),
            ));
        }
        if says(&self.locked_texts) {
            return Err(Outage::Locked { retry_after: None });
        }
        if says(&self.refused_texts) {
            return Ok(Refusal::Credentials);
        }
        Err(Outage::Protocol("it answered with status 400 and words that are not in refused_texts".to_owned()))
    }

    fn token(&self, answer: &Answer) -> Option<String> {
        let cookies = answer.cookies_left();
        cookies.into_iter().find(|cookie| cookie.name == self.cookie && !cookie.value.is_empty()).map(|held| held.value)
    }

    async fn soap(&self, path: &str, keys: &SessionKeys, name: &str, body: Value) -> Result<Answer, Outage> {
        let context = json!({ "_jsns": "urn:zimbra", "format": { "type": "js" } });
        let envelope = json!({ "Header": { "context": context }, "Body": { name: body } });
        self.wire.send(&Request::post(path).json(&envelope).cookies(keys.cookies()).repeatable()).await
    }
}

/// The code of a fault.
fn fault(body: &Value) -> Option<&str> {
    body.pointer("/Fault/Detail/Error/Code")?.as_str()
}

fn strange(answer: &Answer, question: &str) -> Outage {
    if answer.redirects() && matches!(answer.location(), Some(Location::Elsewhere)) {
        return Outage::Protocol("it redirects to another scheme, host or port; see url and host".to_owned());
    }
    match answer.status() {
        404 => Outage::Protocol(format!("it knows no such path for {question}")),
        status => Outage::Protocol(format!("it answered {question} with status {status}")),
    }
}
