//! What a kind of portal can do to its people, each in its own way and for real.

use crate::house::House;
use crate::support::Answer;

/// Somebody, as every portal knows them.
#[derive(Debug)]
pub struct Person {
    pub user: &'static str,
    pub name: &'static str,
    pub email: &'static str,
    /// In our words.
    pub roles: &'static [&'static str],
    /// In the portal's.
    pub said: &'static [&'static str],
}

impl Person {
    /// What goes upstream of the roles.
    pub fn groups(&self) -> String {
        self.roles.join(",")
    }
}

pub const ALICE: Person = Person {
    user: "alice",
    name: "Alice Ä",
    email: "alice@example.test",
    roles: &["staff"],
    said: &["personal", "chess club"],
};
pub const BOB: Person = Person {
    user: "bob",
    name: "Bob B",
    email: "bob@example.test",
    roles: &["staff", "admin"],
    said: &["personal", "leitung"],
};
/// Admin until he is demoted.
pub const DAVE: Person = Person {
    user: "dave",
    name: "Dave D",
    email: "dave@example.test",
    roles: &["staff", "admin"],
    said: &["personal", "leitung"],
};
/// Only the other portal knows her.
pub const CAROL: Person =
    Person { user: "carol", name: "Carol C", email: "carol@example.test", roles: &["staff"], said: &["staff"] };

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The value of the portal's cookie in the browser.
    pub shown: String,
    /// How the portal's server calls it, where there is one.
    pub sid: Option<String>,
}

/// What a kind says of cookies that are nobody's. The decision is the same; how much can be known of a
/// cookie depends on what is in it.
pub struct Words {
    /// Of a value that never was a session.
    pub stranger: &'static str,
    /// Of a session whose time is over.
    pub expired: &'static str,
    /// Of one that was signed out here.
    pub signed_out: &'static str,
    /// Of one that the portal has ended.
    pub called_off: &'static str,
    /// Of one that it has ended through our API.
    pub called_off_by_api: &'static str,
}

/// Who must be asked during a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Nobody: what the browser shows is enough, or was told before.
    Nobody,
    /// The portal, for sessions that are not known yet.
    Strangers,
}

/// What the portal's words for roles are in ours.
pub const ROLES: &str = "[portal.roles]\npersonal = \"staff\"\nleitung = \"admin\"\n";
/// All that dave still is, in the portal's words, when he is demoted.
pub const DEMOTED: &[&str] = &["personal"];

/// The name of the portal in the configuration.
pub const NAME: &str = "id";

/// One kind of portal, with whatever stands behind it.
pub trait Portal: Sized {
    const KIND: &'static str;
    const WORDS: Words;
    const ASKS: Asks;
    /// Where the back-end's password comes from.
    const CREDENTIALS: &'static str;

    /// Starts what belongs to it.
    async fn open() -> Self;

    /// Its `[[portal]]` and what else it needs, for sessions that last so many seconds where that is
    /// configured here.
    fn settings(&self, lifetime: u64) -> String;

    /// The name of its cookie.
    fn cookie(&self) -> String;

    /// The names of other cookies of ours that it may leave in the browser.
    fn other_cookies(&self) -> &'static [&'static str] {
        &[]
    }

    /// Where somebody is sent to sign in who wanted to go to this address.
    fn login(&self, origin: &str, back: &str) -> String;

    /// Signs somebody in who has these cookies already, for so many seconds or as long as is usual.
    async fn sign_in(&self, house: &House, person: &Person, cookies: &str, seconds: Option<u64>) -> Session;

    /// Signs somebody out on the portal's own side; `None` where the portal has none.
    async fn sign_out_there(&self, house: &House, session: &Session) -> Option<()>;

    /// Takes all roles but [`DEMOTED`] away from dave while he is signed in, and gives what his browser shows
    /// then; `None` where roles stay as they are until the next sign-in.
    async fn demote(&self, house: &House, dave: &Session) -> Option<Session>;

    /// A right `Authorization` line of somebody, where this kind knows any.
    async fn authorization(&self, person: &Person) -> Option<String>;

    /// A sign-in is begun in a browser where somebody has planted this cookie; `None` where the portal
    /// sets its cookie itself, and we take no part in it.
    async fn sign_in_over(&self, house: &House, person: &Person, planted: &str) -> Option<Session> {
        let cookies = format!("{}={planted}", self.cookie());
        Some(self.sign_in(house, person, &cookies, None).await)
    }

    /// Nobody can be asked from now on; `None` where there is nobody.
    fn lose(&mut self) -> Option<()>;
}

/// The value of the one cookie of this name that an answer sets.
pub fn cookie_set(answer: &Answer, name: &str) -> String {
    let lines = answer.all("Set-Cookie");
    let value = lines.iter().filter_map(|line| line.split(';').next()?.strip_prefix(name)?.strip_prefix('='));
    let values: Vec<&str> = value.collect();
    assert_eq!(values.len(), 1, "{name} in {answer:?}");
    values[0].to_owned()
}
