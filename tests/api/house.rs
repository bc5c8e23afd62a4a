//! Keyward between three portals, two of which tell of their sessions, and two back-ends.

use serde_json::{Value, json};

use crate::fakes::axigen::{Axigen, Person};
use crate::support::{APP_PORTAL, Answer, Ask, Door, Setup, Sidecar, now, password_of};

/// Good for every portal where only one can be meant.
pub const KEY: &str = "00112233445566778899aabbccddeeff";
pub const SHOP_KEY: &str = "shop-key-of-thirty-two-bytes-and-more";
pub const CLUB_KEY: &str = "club-key-of-thirty-two-bytes-and-more";
pub const OFFICE_KEY: &str = "office-key-of-thirty-two-bytes-and-more";

/// A session id as a portal may have it: what stands in a cookie is often not what stands in an address.
pub const SID: &str = "s%3Aq7/+b0=Zx.9f3a,11";
pub const INBOX: &str = "https://shop.example.test/inbox";

pub struct House {
    pub keyward: Sidecar,
    pub mail: Axigen,
    pub post: Axigen,
}

impl House {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// With more lines in the configuration.
    pub async fn with(more: &str) -> Self {
        Self::started(more, |setup| setup).await
    }

    /// The same, with the set-up changed.
    pub async fn started(more: &str, change: impl FnOnce(Setup) -> Setup) -> Self {
        let (mail, post) = (mailboxes().await, mailboxes().await);
        let setup = Setup::new(&Self::config(&mail.url(), &post.url(), more)).with_api();
        let keyward = change(setup).start().await;
        Self { keyward, mail, post }
    }

    pub fn config(mail: &str, post: &str, more: &str) -> String {
        let key = |caller: &str, secret: &str| {
            format!("[[api.key]]\ncaller = \"{caller}\"\nsecret = \"{secret}\"\nportal = \"{caller}\"\n")
        };
        let registered = |name: &str| {
            format!(
                "[[portal]]\nname = \"{name}\"\nkind = \"registered\"\ncookie = \"{name}_session\"\n\
                 login_url = \"https://portal.example.test/{name}?next={{url}}\"\n"
            )
        };
        let backend = |name: &str, url: &str| {
            format!("[[backend]]\nname = \"{name}\"\nkind = \"axigen\"\nurl = \"{url}\"\nlogin_timeout = \"5s\"\n")
        };
        let route = |host: &str, path: &str, rest: &str| {
            format!("[[route]]\nhost = \"{host}.example.test\"\npath = \"{path}\"\n{rest}\n")
        };
        [
            format!("{more}\n"),
            key("shop", SHOP_KEY),
            key("club", CLUB_KEY),
            key("office", OFFICE_KEY),
            format!("[[api.key]]\ncaller = \"anybody\"\nsecret = \"{KEY}\"\n"),
            registered("shop"),
            registered("club"),
            format!(
                "[[portal]]\nname = \"office\"\nkind = \"ticket\"\ncookie = \"{}\"\nlogin_url = \"https://o.test/\"\n\
                 [[portal.key]]\nid = \"{}\"\nsecret = \"{}\"\n",
                APP_PORTAL.cookie, APP_PORTAL.id, APP_PORTAL.secret
            ),
            backend("mail", mail),
            backend("post", post),
            route("shop", "/admin", "portal = \"shop\"\nroles = [\"admin\"]\nbackend = \"post\""),
            route("shop", "/", "portal = \"shop\"\nbackend = \"mail\""),
            route("club", "/", "portal = \"club\"\nbackend = \"mail\""),
            route("office", "/", "portal = \"office\"\nbackend = \"post\""),
        ]
        .concat()
    }

    /// Registers a good session of the shop, with the right password.
    pub async fn register(&self, sid: &str, user: &str) -> Answer {
        self.put(sid, &session(user)).await
    }

    pub async fn put(&self, sid: &str, session: &Value) -> Answer {
        self.put_as(SHOP_KEY, sid, session).await
    }

    pub async fn put_as(&self, key: &str, sid: &str, session: &Value) -> Answer {
        self.call(key, "PUT", &format!("/v1/sessions/{}", encoded(sid)), &[], &session.to_string()).await
    }

    pub async fn delete(&self, sid: &str) -> Answer {
        self.delete_as(SHOP_KEY, sid).await
    }

    pub async fn delete_as(&self, key: &str, sid: &str) -> Answer {
        self.call(key, "DELETE", &format!("/v1/sessions/{}", encoded(sid)), &[], "").await
    }

    pub async fn touch(&self, key: &str, sid: &str) -> Answer {
        self.call(key, "POST", &format!("/v1/sessions/{}/touch", encoded(sid)), &[], "").await
    }

    pub async fn keys(&self, sid: &str, backend: &str) -> Answer {
        self.keys_as(SHOP_KEY, sid, backend, &[]).await
    }

    pub async fn keys_as(&self, key: &str, sid: &str, backend: &str, lines: &[&str]) -> Answer {
        self.call(key, "GET", &format!("/v1/sessions/{}/keys/{backend}", encoded(sid)), lines, "").await
    }

    /// Calls with this key, more header lines and this body. Every error must be a problem.
    pub async fn call(&self, key: &str, method: &str, path: &str, lines: &[&str], body: &str) -> Answer {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n{kind}{lines}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = self.keyward.call([head.as_bytes(), body.as_bytes()].concat()).await;
        if answer.status >= 400 {
            problem(&answer);
        }
        assert_eq!(answer.one("Cache-Control"), "no-store");
        answer
    }

    /// What a browser with these cookies is told at an address.
    pub async fn ask(&self, url: &str, cookies: &str) -> Answer {
        self.keyward.ask(Door::AuthRequest, &Ask::get(url).cookie(cookies)).await
    }
}

/// What a problem says, which must be one.
pub fn problem(answer: &Answer) -> Value {
    assert_eq!(answer.one("Content-Type"), "application/problem+json", "{answer:?}");
    assert_eq!(answer.one("Cache-Control"), "no-store");
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["status"], answer.status, "{problem}");
    for field in ["type", "title", "detail"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {problem}");
    }
    problem
}

/// The word that decisions would use, or nothing.
pub fn reason(answer: &Answer) -> String {
    problem(answer)["reason"].as_str().unwrap_or_default().to_owned()
}

/// A session of somebody with the right password, for an hour.
pub fn session(user: &str) -> Value {
    json!({ "user": user, "password": password_of(user), "expires": now() + 3600 })
}

/// The same with a field changed, or taken away by `null`.
pub fn but(mut session: Value, field: &str, value: Value) -> Value {
    if value.is_null() {
        session.as_object_mut().unwrap().remove(field);
    } else {
        session[field] = value;
    }
    session
}

/// The cookie that a browser of the shop shows.
pub fn cookie(sid: &str) -> String {
    format!("shop_session={sid}")
}

pub fn encoded(sid: &str) -> String {
    percent_encoding::utf8_percent_encode(sid, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub async fn mailboxes() -> Axigen {
    let person = |user: &str| Person::new(user, &password_of(user), user);
    Axigen::start(["alice", "bob", "carol"].map(person).to_vec()).await.unwrap()
}
