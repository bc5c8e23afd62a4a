//! The kind `ldap`: people sign in here with the name and password that a directory knows, at a page of ours or,
//! where a client keeps no cookies, by HTTP Basic.
//!
//! - `directory`: who is there, and whose password is it?
//! - `credentials`: asks it as seldom as can be, with `lockout` at its side.
//! - `sessions`: how a session begins, stays right and ends. `basic`: what is still known of passwords in headers.
//! - `sign_in`: the page's address. `form`: the page.

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

use self::basic::{Known, Verdicts};
use self::credentials::{Credentials, Outcome};
use self::lockout::Place;
use self::sessions::People;
use self::settings::Settings;
use super::registered::Registered;
use super::{Kind, NoPassword, PortalSession, Scratch, Shown, SignedSession, Surroundings, Verdict, Verifier, Whose};
use crate::config::Section;
use crate::domain::{Reason, Secret, Service, UnixSeconds};
use crate::pages::Pages;

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "ldap", build };

fn build(section: &mut Section, surroundings: &Surroundings) -> Box<dyn Verifier> {
    let Surroundings { name, sessions: kept, errands, pages, clock } = surroundings;
    let cookie = settings::cookie(section, name);
    let settings = Settings::read(section, name);
    let directory = Directory::read(section, surroundings);
    let sessions = Registered::new(cookie.clone(), surroundings);
    // A mistake was noted.
    let Some(directory) = directory else { return Box::new(sessions) };
    let credentials = Credentials::new(directory, name, settings.lockout.clone(), kept, errands, clock);
    let people = People {
        portal: name.clone(),
        directory: Arc::clone(&credentials.directory),
        kept: Arc::clone(kept),
        errands: Arc::clone(errands),
        clock: Arc::clone(clock),
        session_lifetime: settings.session_lifetime,
        refresh_every: settings.refresh_every,
    };
    Box::new(Ldap {
        name: name.clone(),
        path: format!("/.keyward/login/{name}"),
        form_cookie: format!("{cookie}-form"),
        known_cookie: format!("{cookie}-known"),
        sessions,
        people: Arc::new(people),
        credentials: Arc::new(credentials),
        verdicts: Arc::new(Verdicts::new(clock)),
        settings: Arc::new(settings),
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
    verdicts: Arc<Verdicts>,
    settings: Arc<Settings>,
    pages: Arc<Pages>,
}

impl Verifier for Ldap {
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

    fn challenge(&self) -> Option<&str> {
        Some(&self.settings.challenge)
    }

    fn verify<'a>(&'a self, shown: &Shown<'a>, now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        let found = self.sessions.find(shown, now);
        let (id, held) = match (found, shown.authorization) {
            (Ok(found), _) => found,
            (Err(reason), None) => return Verdict::Rejected(reason),
            (Err(reason), Some(header)) => {
                let read = basic::read(header);
                let mark = read.and_then(|(name, password)| self.credentials.mark(&name, &password));
                let Some(mark) = mark else { return Verdict::Rejected(reason) };
                match self.verdicts.known(&mark) {
                    Some(Known::Wrong) => return Verdict::Rejected(Reason::NoSession),
                    Some(Known::Right(id)) => match self.people.kept.of_id(&id, now) {
                        Some(held) => (id, held),
                        None => return Verdict::Unasked,
                    },
                    None => return Verdict::Unasked,
                }
            }
        };
        self.people.refresh(&id, &held);
        Verdict::Genuine(PortalSession::held(id, scratch.held.insert(held)))
    }

    fn ask<'a>(&'a self, shown: &Shown<'_>, now: UnixSeconds) -> BoxFuture<'a, Verdict<'static>> {
        let read = shown.authorization.and_then(basic::read);
        let address = shown.browser.map(|browser| browser.client().address);
        Box::pin(async move {
            let Some((name, password)) = read else { return Verdict::Rejected(Reason::NoSession) };
            let Some(mark) = self.credentials.mark(&name, &password) else {
                return Verdict::Rejected(Reason::NoSession);
            };
            // Without a browser nobody shows anything.
            let address = address.unwrap_or(IpAddr::from([127, 0, 0, 1]));
            let place = Place { address, by: "basic", device_of: None, device: None };
            match self.credentials.check(&name, password.clone(), place).await {
                Outcome::Right(member) => match self.people.open_without_cookie(&member, &name, &password) {
                    Ok(id) => {
                        self.verdicts.right(mark, id.clone(), self.settings.cache_for);
                        let held = self.people.kept.of_id(&id, now);
                        held.map_or(Verdict::Rejected(Reason::Expired), |held| {
                            Verdict::Genuine(PortalSession::held_here(id, &held))
                        })
                    }
                    Err(_) => {
                        tracing::warn!(portal = self.name, "no more sessions can be kept; raise [limits] sessions");
                        Verdict::Unreachable { retry_after: NO_ROOM }
                    }
                },
                Outcome::Wrong => {
                    if let Some(id) = self.verdicts.wrong(mark, self.settings.refused_for) {
                        // It was right a moment ago, so the person has another password, or is gone.
                        self.people.lapse_with(&id, &password);
                    }
                    Verdict::Rejected(Reason::NoSession)
                }
                Outcome::Wait(retry_after) | Outcome::Unreachable(retry_after) => Verdict::Unreachable { retry_after },
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
        self.people.kept.whose(id, now).map_or(Whose::Nobody, Whose::Of)
    }

    fn end(&self, id: &str) -> Option<UnixSeconds> {
        self.people.kept.end(id).map(|ended| ended.expires)
    }

    fn service(&self) -> Option<&dyn Service> {
        Some(self)
    }
}

/// When to come back where there is no room for a session.
const NO_ROOM: Duration = Duration::from_secs(5);
