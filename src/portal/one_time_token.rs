//! Portal kind `one-time-token`: a host, such as Epixel MLM Software, sends the browser with a token that
//! works once. Keyward asks the host whose it is and makes a session of its own.
//!
//! The workflow is documented by the vendor: the token is verified with the host, which gives an API
//! session and an access token; the sign-in is acknowledged; whoever ends the session tells the other.
//! Of the bodies only the name `api_sid` is, so every other name and every path is a setting with a
//! default of ours.
//!
//! The flow has no state that is tied to the browser, so anybody can send somebody a link of their own.
//! Nobody who is signed in is therefore replaced by somebody else unasked.

mod arrivals;
mod doors;
mod host;
mod pages;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use self::arrivals::Arrivals;
use self::host::Host;
use self::settings::{HostSettings, Settings};
use super::registered::Registered;
use super::{
    Called, HeldSession, Keeps, Kind, NoPassword, PortalSession, Scratch, Sessions, Shown, SignedSession, Surroundings,
    Verdict, Verifier, Whose,
};
use crate::config::Section;
use crate::domain::{Secret, Service, UnixSeconds};
use crate::pages::Pages;
use crate::wire::{Errands, Try, Wire};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "one-time-token", build };

/// Longest time for a TCP and TLS handshake; a shorter `host_timeout` cuts it anyway.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

fn build(section: &mut Section, surroundings: &Surroundings) -> Box<dyn Verifier> {
    let sessions = Registered::new(settings::cookie(section), surroundings);
    let host = HostSettings::read(section);
    let settings = Settings::read(section, &host.apikey);
    let (authorities, clock) = (section.authorities(), Arc::clone(&surroundings.clock));
    let wire = match Wire::trusting(authorities, host.url.clone(), None, CONNECT_TIMEOUT, clock) {
        Ok(wire) => wire,
        Err(error) => {
            section.mistake("host", &error.to_string());
            return Box::new(sessions);
        }
    };
    let Surroundings { name, sessions: kept, errands, pages, clock } = surroundings;
    Box::new(OneTimeToken {
        name: name.clone(),
        sessions,
        settings,
        host: Arc::new(Host::new(host, wire)),
        arrivals: Arrivals::new(name, kept, errands, clock),
        kept: Arc::clone(kept),
        errands: Arc::clone(errands),
        pages: Arc::clone(pages),
    })
}

struct OneTimeToken {
    name: String,
    /// Our own sessions, by our own cookie.
    sessions: Registered,
    settings: Settings,
    host: Arc<Host>,
    arrivals: Arrivals,
    /// Where they are kept. The memo of a session is the host's name for it.
    kept: Arc<Sessions>,
    errands: Arc<Errands>,
    pages: Arc<Pages>,
}

impl Verifier for OneTimeToken {
    fn cookie(&self) -> &str {
        self.sessions.cookie()
    }

    fn gives_cookie(&self) -> bool {
        true
    }

    fn verify<'a>(&'a self, shown: &Shown<'a>, now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        self.sessions.verify(shown, now, scratch)
    }

    fn signed(&self, presented: &[&str]) -> Vec<SignedSession> {
        self.sessions.signed(presented)
    }

    fn password(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        self.sessions.password(session)
    }

    fn keeps(&self) -> Keeps {
        Keeps::Sessions
    }

    /// The host has its own name for a session, under which there may be several here.
    fn called<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
        Box::pin(self.kept.called(&self.name, sid))
    }

    /// Also of one that is here in a moment.
    fn called_off<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
        self.arrivals.note_end(sid);
        self.called(sid)
    }

    fn whose(&self, id: &str, now: UnixSeconds) -> Whose {
        self.kept.whose(id, now)
    }

    /// The host is told, which has all others of the same API session end. Those that are here it need not
    /// tell us of, and one whose sign-in is under way is none any more.
    fn end(&self, id: &str) -> Option<UnixSeconds> {
        let ended = self.kept.end(&self.name, id)?;
        let api_sid = api_sid(&ended).to_owned();
        self.arrivals.note_end(&api_sid);
        self.kept.end_all_called(&self.errands, &self.name, &api_sid);
        let host = Arc::clone(&self.host);
        let farewell: Try = Box::new(move || {
            let (host, api_sid) = (Arc::clone(&host), api_sid.clone());
            Box::pin(async move { host.log_out(&api_sid).await })
        });
        self.errands.begin(&self.name, "logout", farewell);
        Some(ended.expires)
    }

    fn service(&self) -> Option<&dyn Service> {
        Some(self)
    }
}

/// The host's name for a session, which is its one memo.
fn api_sid(session: &HeldSession) -> &str {
    session.memos.first().map_or("", String::as_str)
}
