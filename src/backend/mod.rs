//! The web applications behind the web server: one file per kind, with a folder for its parts, and one table.
//!
//! A connector knows its application's dialect and nothing else. Deadlines, the limit of logins at
//! once, back-off and metrics are wrapped around every one of them alike by [`Guarded`].
//!
//! # Adding a kind
//!
//! 1. `src/backend/<kind>.rs`: a `KIND` whose `build` reads the kind's own settings, and a connector
//!    that keeps the contract written at [`Backend`]. Say of every fact about the application whether
//!    it is documented, seen or assumed; what nobody knows becomes a setting.
//! 2. Its `mod` line and its line in [`KINDS`], below. Nothing else in `src` learns the name.
//! 3. The application itself for `tests/conformance/`, or a strict stand-in in `tests/fakes/` where it
//!    cannot be had: one file and one line in `FIXTURES`, and every behaviour runs over it.
//! 4. `examples/<kind>/` for its administrators, `examples/nginx/keyward/<kind>.inc` for their web
//!    server, its keys in `conf/keyward.toml`, its lines of the log in `conf/README.md`, and its row in
//!    `README.md`, which says against what it was tried.
//!
//! Tests walk the table and complain about what is missing.

mod accounts;
mod backoff;
mod guard;

mod axigen;
mod epixel;
mod form;
mod open_xchange;
mod roundcube;
mod sogo;
mod websydian;
mod zimbra;

/// Every kind of back-end there is. A new one is a file, its `mod` line above and its line here.
pub const KINDS: &[Kind] = &[
    axigen::KIND,
    epixel::KIND,
    form::KIND,
    open_xchange::KIND,
    roundcube::KIND,
    sogo::KIND,
    websydian::KIND,
    zimbra::KIND,
];

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::config::Section;
pub use crate::domain::Outage;
use crate::domain::{Client, Person, Secret, Service, SessionHandle, SessionKeys, UnixSeconds};
use crate::store::{Event, Store};
use crate::wire::Wire;

pub use crate::domain::AccountRefusal;
pub use accounts::{AccountChange, Accounts};
pub use guard::{BackendId, BackendPlan, Guarded, LoginPlace, Profile};

/// One entry of [`KINDS`].
pub struct Kind {
    /// The `kind` an operator writes.
    pub name: &'static str,
    /// Reads the kind's own settings and makes the connector. Mistakes go into the section; what is
    /// returned after a mistake is thrown away.
    pub build: fn(&mut Section, Wire) -> Box<dyn Backend>,
}

/// What a connector hands to its successor; only connectors of the same kind understand it.
pub type Memory = Arc<dyn Any + Send + Sync>;

/// One web application, seen from the server side.
///
/// The contract, kept by `tests/conformance/` over every kind:
/// - A refusal is a value, an outage is an error. Whatever is not clearly one of the documented
///   answers is [`Outage::Protocol`], never a session.
/// - A method sends what it must and returns; it does not retry a password, does not wait for
///   anything else, and may be dropped at any await.
/// - Nothing it returns or logs holds a secret.
pub trait Backend: Send + Sync + 'static {
    /// Signs the person in.
    fn login<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>>;

    /// Why a login would be in vain, where that can be seen without asking. Such an attempt tells nothing
    /// of whether the application is there, so it must not count as an answer of it.
    fn foresees(&self, _attempt: &Attempt) -> Option<Refusal> {
        None
    }

    /// Asks whether the session still lives, which also keeps it alive.
    fn check<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>>;

    /// Ends the session. `Ok` when the back-end has answered, whatever it said.
    fn logout<'a>(&'a self, keys: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>>;

    /// Whether the application can be told that a session has ended. Where not, a session that nobody
    /// holds any more is left to its time-out.
    fn ends_sessions(&self) -> bool {
        true
    }

    /// Whether a browser's cookie of this name would be taken by the application for one of its own
    /// keys, in any spelling that the application folds into it.
    fn owns_cookie(&self, name: &[u8]) -> bool;

    /// The name of the key in the query, where there is one.
    fn query_key(&self) -> Option<&str> {
        None
    }

    /// Whether the key in the query opens a session by itself, for whoever has it.
    fn opens_by_query(&self) -> bool {
        false
    }

    /// Whether the application takes an `Authorization` header from us.
    fn takes_authorization(&self) -> bool {
        false
    }

    /// The header by which the application knows a session beside `Authorization`, in lower case, where it has one.
    fn session_header(&self) -> Option<&'static str> {
        None
    }

    /// From now on logins are made with an access token in the place of the password (`credentials = "token"`).
    /// Says whether the application takes any.
    fn use_tokens(&mut self) -> bool {
        false
    }

    /// Cookies among the keys that the browser gets as well, because the application's scripts read them there.
    /// They must open nothing by themselves.
    fn script_cookies(&self) -> &[ScriptCookie] {
        &[]
    }

    /// Until when these keys open anything, in Unix seconds, where they say so themselves. They are replaced a
    /// moment before.
    fn keys_end(&self, _keys: &SessionKeys) -> Option<UnixSeconds> {
        None
    }

    /// Whether a login cannot do without a password. `credentials = "none"` is a mistake then.
    fn wants_password(&self) -> bool {
        true
    }

    /// Where a browser goes first with these keys: path, query and fragment, below the address at which
    /// the application is seen from outside. It begins with a slash.
    fn entry(&self, keys: &SessionKeys) -> String {
        if keys.query().is_empty() { "/".to_owned() } else { format!("/?{}", keys.query()) }
    }

    /// Sessions that this portal session opened here without the keys having been asked for, and that end
    /// with it. Asked once it has ended, by every replica; each is given once, and logged out like any other. What this
    /// process knows of them is good for nothing any more when this is first polled.
    fn opened_beside<'a>(&'a self, _session: &'a SessionHandle) -> BoxFuture<'a, OpenedBeside> {
        Box::pin(std::future::ready(OpenedBeside { keys: Vec::new(), is_all: true }))
    }

    /// What must outlive the connector when its back-end's settings change.
    fn memory(&self) -> Option<Memory> {
        None
    }

    /// Takes over the memory of the connector whose place it takes: one of the same name, kind and address.
    fn remember(&mut self, _memory: Memory) {}

    /// Shares with other replicas what the application asks about, which may ask any of them. Called before the
    /// first login, and after [`Backend::remember`].
    fn share(&mut self, _store: &Arc<Store>, _profile: &Profile) {}

    /// Another replica says something that may be about what is shared. Called in order, and must not wait.
    fn hear(&self, _event: &Event) {}

    /// What the application is offered beside being signed in to, where it needs something.
    fn service(&self) -> Option<&dyn Service> {
        None
    }

    /// Where the application's accounts can be kept up from here: how.
    fn accounts(&self) -> Option<&dyn Accounts> {
        None
    }

    /// Whether a technical account that may sign in for everybody is configured. A login without a password
    /// is then made with it.
    fn has_master(&self) -> bool {
        false
    }

    /// Which properties of the browser a session is tied to. Keys are cached per such client.
    fn binding(&self) -> Binding {
        Binding::default()
    }
}

/// What a login needs.
pub struct Attempt {
    /// The person's name at this back-end.
    pub login: String,
    /// The password, absent where the back-end wants none; with `credentials = "token"` the access token.
    pub password: Option<Secret>,
    /// The browser for which the session is opened.
    pub client: Client<'static>,
    /// Who it is, as the portal says.
    pub person: Arc<Person>,
    /// Their roles as this back-end calls them, in the portal's order.
    pub roles: Vec<String>,
}

/// How a login ended, where the back-end could be asked.
#[derive(Debug)]
pub enum Login {
    /// A session is open.
    Opened(SessionKeys),
    /// The back-end said no.
    Refused(Refusal),
}

/// Why a back-end said no, as far as it told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Wrong password, unknown or disabled account: back-ends rarely say which.
    #[error("the back-end refused the user's name or password")]
    Credentials,
    /// The password must be changed first, by the person.
    #[error("the password has expired at the back-end")]
    Expired,
    /// A second factor or a captcha, which only the person can answer.
    #[error("the back-end asks for something only a person can answer")]
    Interactive,
}

/// Most cookies of one application that the browser gets as well: no web server's example takes over more.
pub const MOST_SCRIPT_COOKIES: usize = 2;

/// A cookie that an application's scripts read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptCookie {
    /// Its name, that of one of the keys.
    pub name: Cow<'static, str>,
    /// The path below which the scripts are.
    pub path: &'static str,
}

/// What was opened beside the keys that are held.
#[derive(Debug)]
pub struct OpenedBeside {
    /// Keys that name what is to be ended.
    pub keys: Vec<SessionKeys>,
    /// Whether that is all. Else there may be more of which nobody could be asked; ask again.
    pub is_all: bool,
}

/// Whether a session is still there.
#[derive(Debug)]
pub enum Liveness {
    /// It is, with the same keys.
    Alive,
    /// It is, and its keys have changed to these.
    Renewed(SessionKeys),
    /// It is gone.
    Dead,
}

/// Which properties of the browser are part of a session's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The `User-Agent` header.
    pub user_agent: bool,
    /// The address.
    pub address: bool,
    /// The `Accept-Language` header.
    pub accept_language: bool,
}

impl Binding {
    /// Reads `bind`.
    fn read(section: &mut Section, default: Self) -> Self {
        let Some(words) = section.texts("bind") else { return default };
        let mut binding = Self::default();
        for (index, word) in words.iter().enumerate() {
            match word.as_str() {
                "user-agent" => binding.user_agent = true,
                "address" => binding.address = true,
                "accept-language" => binding.accept_language = true,
                _ => {
                    let remedy = "must be one of \"user-agent\", \"address\" and \"accept-language\"";
                    section.mistake(&format!("bind[{}]", index + 1), remedy);
                }
            }
        }
        binding
    }

    /// Whether a session is tied to anything of the browser.
    #[must_use]
    pub const fn any(self) -> bool {
        self.user_agent || self.address || self.accept_language
    }
}
