//! The program with one kind of portal, a portal of another kind beside it, and a webmail behind both.

use serde_json::Value;

use crate::fakes::axigen::{Axigen, Person as Customer};
use crate::portal::{ALICE, BOB, CAROL, DAVE, NAME, Portal, ROLES};
use crate::support::{Answer, Ask, Door, MAIL_PORTAL, PortalKey, Setup, Sidecar, password_of};
use keyward::domain::{DerivationKey, ExposeSecret, Secret};

pub const API_KEY: &str = "00112233445566778899aabbccddeeff";
/// What the webmail's passwords are derived with, where the portal brings none.
const DERIVE: &str = "a secret of thirty-two bytes, at least";
/// How long sessions last, where that is configured, in seconds.
const LIFETIME: u64 = 3600;

pub struct House {
    pub keyward: Sidecar,
    pub mail: Axigen,
    rest: String,
}

impl House {
    pub async fn start<P: Portal>(portal: &P) -> Self {
        let key = DerivationKey::new("k", &Secret::from(DERIVE)).unwrap();
        let password = |user: &str| match P::CREDENTIALS {
            "derived" => key.password(user).expose_secret().to_owned(),
            _ => password_of(user),
        };
        let people = [ALICE, BOB, DAVE].map(|person| Customer::new(person.user, &password(person.user), person.name));
        let mail = Axigen::start(people.to_vec()).await.unwrap();
        let rest = config(&mail.url(), P::CREDENTIALS);
        let setup = Setup::new(&format!("{}{ROLES}{rest}", portal.settings(LIFETIME))).with_api();
        Self { keyward: setup.start().await, mail, rest }
    }

    /// Sessions that are opened meanwhile last so many seconds, of portals that have it configured.
    pub async fn while_sessions_last<P: Portal, T>(
        &self,
        portal: &P,
        seconds: u64,
        opening: impl Future<Output = T>,
    ) -> T {
        self.keyward.rewrite(&format!("{}{ROLES}{}", portal.settings(seconds), self.rest));
        self.keyward.reload("applied").await;
        let opened = opening.await;
        self.keyward.rewrite(&format!("{}{ROLES}{}", portal.settings(LIFETIME), self.rest));
        self.keyward.reload("applied").await;
        opened
    }

    pub async fn ask(&self, door: Door, ask: &Ask) -> Answer {
        self.keyward.ask(door, ask).await
    }

    /// A browser comes to a page of ours through a web server that serves https.
    pub async fn browse(&self, method: &str, target: &str, lines: &[&str], body: &str) -> Answer {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: keyward\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: app.example.test\r\nAccept: text/html\r\nContent-Length: {}\r\n{lines}\r\n{body}",
            body.len()
        );
        self.keyward.exchange(head).await
    }

    /// The portal's server calls the API.
    pub async fn call(&self, method: &str, sid: &str, body: Option<&Value>) -> u16 {
        let sid = percent_encoding::utf8_percent_encode(sid, percent_encoding::NON_ALPHANUMERIC);
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} /v1/sessions/{sid}?portal={NAME} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {API_KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.keyward.call(head).await.status
    }
}

/// The other portal, the webmail and the routes.
fn config(mail: &str, credentials: &str) -> String {
    let PortalKey { name: other, cookie, id, secret } = MAIL_PORTAL;
    let derive = match credentials {
        "derived" => format!("[[backend.derive]]\nid = \"k\"\nsecret = \"{DERIVE}\"\n"),
        _ => String::new(),
    };
    let route = |host: &str, path: &str, rest: &str| {
        format!("[[route]]\nhost = \"{host}.example.test\"\npath = \"{path}\"\n{rest}\n")
    };
    let door = format!("portal = \"{NAME}\"\nbackend = \"mail\"");
    [
        format!(
            "[[portal]]\nname = \"{other}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
             login_url = \"https://other.example.test/?next={{url}}\"\n[[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n\
             [[api.key]]\ncaller = \"{NAME}\"\nsecret = \"{API_KEY}\"\nportal = \"{NAME}\"\n\
             [[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"{mail}\"\ncredentials = \"{credentials}\"\n{derive}"
        ),
        route("app", "/public/", "public = true\nbackend = \"mail\""),
        route("app", "/staff", &format!("{door}\nroles = [\"staff\"]")),
        route("app", "/admin", &format!("{door}\nroles = [\"admin\"]")),
        route("app", "/read", &format!("{door}\nmethods = [\"GET\"]")),
        route("app", "/read", &format!("{door}\nroles = [\"admin\"]")),
        route("app", "/dav", &format!("{door}\nauthorization = true")),
        route("app", "/", &door),
        route("gate", "/", &format!("portal = \"{NAME}\"")),
        route("post", "/", &format!("portal = \"{other}\"")),
        route("both", "/", &format!("portal = [\"{NAME}\", \"{other}\"]")),
    ]
    .concat()
}

/// A ticket of carol, who is at the other portal.
pub fn carols_ticket() -> String {
    let ticket = crate::support::Ticket::of(CAROL.user).portal(MAIL_PORTAL).roles(CAROL.roles);
    ticket.name(CAROL.name).email(CAROL.email).mint()
}
