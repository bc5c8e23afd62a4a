//! The kind `ldap`: people sign in here with the name and password that a directory knows, at a page of ours or,
//! where a client keeps no cookies, by HTTP Basic.
//!
//! - `directory`: who is there, and whose password is it?
//! - `credentials`: asks it as seldom as can be, with `lockout` at its side.
//! - `sessions`: how a session begins, stays right and ends. `basic`: what is still known of passwords in headers.
//! - `accounts`: new passwords, of which others tell.
//! - `sign_in`: the page's address. `form`: the page.

mod accounts;
mod basic;
mod bounded;
mod credentials;
mod directory;
mod form;
mod lockout;
mod sessions;
mod settings;
mod sign_in;

pub use directory::{Changed, Directory, Member, Refusal};

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use self::accounts::Passwords;
use self::basic::{Answer, Basic};
use self::bounded::Bounded;
use self::credentials::Credentials;
use self::sessions::{MOST_CHANGED, People};
use self::settings::Settings;
use super::registered::Registered;
use super::{
    Keeps, Kind, NoPassword, PortalSession, Scratch, Shown, SignedSession, Surroundings, Verdict, Verifier, Whose,
};
use crate::config::Section;
use crate::domain::{PasswordKeeper, Reason, Secret, Service, UnixSeconds};
use crate::pages::Pages;

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "ldap", build };

fn build(section: &mut Section, surroundings: &Surroundings) -> Box<dyn Verifier> {
    let Surroundings { name, sessions: kept, errands, pages, clock } = surroundings;
    let cookie = settings::cookie(section, name);
    let settings = Settings::read(section, name);
    let passwords = accounts::Terms::read(section);
    let directory = Directory::read(section, surroundings);
    let sessions = Registered::new(cookie.clone(), surroundings);
    let Some(directory) = directory else {
        // A mistake was noted, and that nobody could sign in is none of its own.
        return Box::new(Unusable(sessions));
    };
    let credentials = Credentials::new(directory, name, settings.lockout.clone(), kept, errands, clock);
    let people = People {
        portal: name.clone(),
        directory: Arc::clone(&credentials.directory),
        kept: Arc::clone(kept),
        errands: Arc::clone(errands),
        clock: Arc::clone(clock),
        session_lifetime: settings.session_lifetime,
        refresh_every: settings.refresh_every,
        changed: Mutex::new(Bounded::new(MOST_CHANGED)),
    };
    let (credentials, people) = (Arc::new(credentials), Arc::new(people));
    let basic = Arc::new(Basic::new(&credentials, &people, (settings.cache_for, settings.refused_for)));
    let passwords = passwords.map(|terms| {
        let (people, basic) = (Arc::clone(&people), Arc::clone(&basic));
        Arc::new(Passwords { terms, people, basic })
    });
    Box::new(Ldap {
        name: name.clone(),
        path: format!("/.keyward/login/{name}"),
        form_cookie: format!("{cookie}-form"),
        known_cookie: format!("{cookie}-known"),
        sessions,
        basic,
        passwords,
        people,
        credentials,
        settings,
        pages: Arc::clone(pages),
    })
}

struct Ldap {
    name: String,
    /// Where the sign-in page is.
    path: String,
    /// The cookie that shows that a form is ours.
    form_cookie: String,
    /// The cookie by which a browser is known again.
    known_cookie: String,
    /// Our own sessions, by our own cookie.
    sessions: Registered,
    people: Arc<People>,
    credentials: Arc<Credentials>,
    basic: Arc<Basic>,
    /// Where passwords may be changed from here.
    passwords: Option<Arc<Passwords>>,
    settings: Settings,
    pages: Arc<Pages>,
}

impl Verifier for Ldap {
    fn longest_answer(&self) -> Duration {
        self.credentials.directory.longest_answer()
    }

    fn cookie(&self) -> &str {
        self.sessions.cookie()
    }

    fn owns_cookie(&self, name: &[u8]) -> bool {
        [self.cookie(), &self.form_cookie, &self.known_cookie].iter().any(|own| own.as_bytes() == name)
    }

    fn gives_cookie(&self) -> bool {
        true
    }

    fn has_own_page(&self) -> bool {
        true
    }

    fn keeps(&self) -> Keeps {
        Keeps::Sessions
    }

    fn challenge(&self) -> Option<&str> {
        Some(&self.settings.challenge)
    }

    fn verify<'a>(&'a self, shown: &Shown<'a>, now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        let (id, held) = match (self.sessions.look_up(&shown.values, now), shown.authorization) {
            (Ok(found), _) => found,
            (Err(reason), None) => return Verdict::Rejected(reason),
            (Err(reason), Some(header)) => match self.basic.find(header, now) {
                Ok(found) => found,
                Err(true) => return Verdict::Unasked,
                Err(false) => return Verdict::Rejected(reason),
            },
        };
        self.people.refresh(&id, &held);
        Verdict::Genuine(PortalSession::held(id, scratch.held.insert(held)))
    }

    fn ask<'a>(&'a self, shown: &Shown<'_>, now: UnixSeconds) -> BoxFuture<'a, Verdict<'static>> {
        let read = shown.authorization.and_then(basic::read);
        // Without a browser nobody shows anything.
        let address = shown.browser.map_or(IpAddr::from([127, 0, 0, 1]), |browser| browser.client().address);
        Box::pin(async move {
            let Some((name, password)) = read else { return Verdict::Rejected(Reason::NoSession) };
            match self.basic.ask(name, password, address).await {
                Answer::Session(id) => match self.people.kept.of_id(&id, now) {
                    Some(held) => Verdict::Genuine(PortalSession::held_here(id, &held)),
                    None => Verdict::Rejected(Reason::Expired),
                },
                Answer::Nobody => Verdict::Rejected(Reason::NoSession),
                Answer::Unreachable(retry_after) => Verdict::Unreachable { retry_after },
            }
        })
    }

    fn signed(&self, presented: &[&str]) -> Vec<SignedSession> {
        self.sessions.signed(presented)
    }

    fn password(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        let held = session.kept().ok_or(NoPassword::Absent)?;
        self.people.password(session.id(), held).ok_or(NoPassword::Unreadable)
    }

    fn whose(&self, id: &str, now: UnixSeconds) -> Whose {
        self.people.kept.whose(id, now)
    }

    fn end(&self, id: &str) -> Option<UnixSeconds> {
        self.people.kept.end(&self.name, id).map(|ended| ended.expires)
    }

    fn passwords(&self) -> Option<Arc<dyn PasswordKeeper>> {
        self.passwords.clone().map(|keeper| keeper as Arc<dyn PasswordKeeper>)
    }

    fn service(&self) -> Option<&dyn Service> {
        Some(self)
    }
}

/// What there is after a mistake. Nobody ever asks it who they are.
struct Unusable(Registered);

impl Verifier for Unusable {
    fn cookie(&self) -> &str {
        self.0.cookie()
    }

    fn has_own_page(&self) -> bool {
        true
    }

    fn verify<'a>(&'a self, _shown: &Shown<'a>, _now: UnixSeconds, _scratch: &'a mut Scratch) -> Verdict<'a> {
        Verdict::Rejected(Reason::NoSession)
    }

    fn signed(&self, _presented: &[&str]) -> Vec<SignedSession> {
        Vec::new()
    }

    fn password(&self, _session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        Err(NoPassword::Absent)
    }
}
