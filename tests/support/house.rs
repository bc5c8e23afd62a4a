//! The set-up that the catalogue of attacks is told for: two hosts with a portal each, and people.

use super::{APP_PORTAL, Ask, DOORS, MAIL_PORTAL, Setup, Sidecar, Ticket, password_of};
use crate::fakes::axigen::{Axigen, Person};

/// People with mailboxes at both back-ends.
pub const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// Keyward between two portals and two back-ends.
pub struct House {
    pub keyward: Sidecar,
    /// Behind `app.example.test`.
    pub office: Axigen,
    /// Behind `mail.example.test`.
    pub post: Axigen,
}

impl House {
    pub async fn start() -> Self {
        Self::with("", |setup| setup).await
    }

    /// With more lines in the configuration, and the set-up changed.
    pub async fn with(more: &str, change: impl FnOnce(Setup) -> Setup) -> Self {
        Self::with_back_ends("", more, change).await
    }

    /// With more lines in both `[[backend]]`s as well.
    pub async fn with_back_ends(limits: &str, more: &str, change: impl FnOnce(Setup) -> Setup) -> Self {
        let (office, post) = (mailboxes().await, mailboxes().await);
        let config = Self::config(&office.url(), &post.url(), limits, more);
        let keyward = change(Setup::new(&config)).start().await;
        Self { keyward, office, post }
    }

    /// The configuration, without `[listen]`.
    pub fn config(office: &str, post: &str, limits: &str, more: &str) -> String {
        let portal = |portal: super::PortalKey| {
            let super::PortalKey { name, cookie, id, secret } = portal;
            format!(
                "[[portal]]\nname = \"{name}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
                 login_url = \"https://portal.example.test/{name}?next={{url}}\"\n\
                 [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n"
            )
        };
        let backend = |name: &str, url: &str| {
            format!("[[backend]]\nname = \"{name}\"\nkind = \"axigen\"\nurl = \"{url}\"\n{limits}\n")
        };
        let route = |host: &str, path: &str, rest: &str| {
            format!("[[route]]\nhost = \"{host}.example.test\"\npath = \"{path}\"\n{rest}\n")
        };
        [
            format!("{more}\n"),
            portal(APP_PORTAL),
            portal(MAIL_PORTAL),
            backend("office", office),
            backend("post", post),
            route("app", "/public/", "public = true\nbackend = \"office\""),
            route("app", "/admin", "portal = \"office\"\nroles = [\"admin\"]\nbackend = \"office\""),
            route("app", "/read", "portal = \"office\"\nmethods = [\"GET\"]\nbackend = \"office\""),
            route("app", "/read", "portal = \"office\"\nroles = [\"admin\"]\nbackend = \"office\""),
            route("app", "/", "portal = \"office\"\nbackend = \"office\""),
            route("mail", "/", "portal = \"post\"\nbackend = \"post\""),
            route("gate", "/", "portal = \"office\""),
        ]
        .concat()
    }

    /// Every configured series of the two back-ends sums up to this.
    pub async fn logins(&self, back_end: &str, outcome: &str) -> f64 {
        self.keyward
            .metric(&format!("keyward_backend_logins_total{{backend=\"{back_end}\",outcome=\"{outcome}\"}}"))
            .await
    }
}

/// A stand-in where everybody has a mailbox.
pub async fn mailboxes() -> Axigen {
    let person = |user: &str| Person::new(user, &password_of(user), user);
    Axigen::start(PEOPLE.map(person).to_vec()).await.unwrap()
}

/// A question of alice, who has no role.
impl House {
    pub async fn still_serves(&self) {
        let cookie = Ticket::of("alice").cookie();
        for door in DOORS {
            let ask = Ask::get("https://app.example.test/inbox").cookie(&cookie);
            self.keyward.ask(door, &ask).await.assert_allows("alice");
        }
    }
}
