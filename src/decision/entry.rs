use std::sync::Arc;

use smallvec::SmallVec;

use super::waiting::Waiting;
use super::{Ask, Decision, Gate, Purpose, Route, Sheets, Step, Terms};
use crate::backend::Guarded;
use crate::domain::{Audience, Reason, UnixSeconds};
use crate::keys::Found as FoundKeys;
use crate::portal::{Found, Portal, PortalSession, Shown, Unfinished, Unreachable};

/// A question on its way through one route that asks for somebody.
pub(super) struct Entry<'a> {
    pub gate: &'a Gate,
    pub ask: &'a Ask<'a>,
    pub purpose: Purpose,
    pub terms: &'a Terms,
    pub route: &'a Route,
}

impl<'a> Entry<'a> {
    /// Judges as far as it can be done without waiting.
    pub fn decide(self, sheets: &'a mut Sheets) -> Step<'a> {
        let now = self.gate.clock.unix();
        match self.terms.portals.validate(|portal| self.shown(portal), now, sheets) {
            Ok(found) => self.go_on(found, now),
            Err(unfinished) => Step::Waiting(Waiting::for_portals(self, unfinished)),
        }
    }

    /// Asks the portals that must be asked.
    pub async fn ask_portals(self, unfinished: Unfinished) -> Step<'a> {
        let now = self.gate.clock.unix();
        let found = self.terms.portals.identify(Some(unfinished), |portal| self.shown(portal), now).await;
        let now = self.gate.clock.unix();
        self.go_on(found, now)
    }

    fn shown(&self, portal: &Portal) -> Shown<'a> {
        portal.shown(&self.ask.cookies, self.ask.browser, self.terms.authorization)
    }

    fn go_on(self, found: Found<'a, 'a>, now: UnixSeconds) -> Step<'a> {
        match found {
            Found::Session(portal, session) => self.judge(portal, session, now),
            Found::Nobody(reason) => Step::Decided(self.sign_in(reason)),
            Found::Unreachable(Unreachable { retry_after }) => {
                Step::Decided(Decision::Unavailable { reason: Reason::PortalUnavailable, retry_after })
            }
        }
    }

    /// Goes on with a genuine session. What it may do is this portal's matter alone: another portal's
    /// session beside it belongs to another person, perhaps.
    fn judge(self, portal: &'a Arc<Portal>, session: PortalSession<'a>, now: UnixSeconds) -> Step<'a> {
        let Self { gate, ask, terms, .. } = self;
        let seconds = session.expires().saturating_sub(now);
        let has_role = session.identity().has_one_of(&terms.roles);
        match &self.route.backend {
            Some(backend) if has_role => self.open(portal, backend, session, seconds),
            _ if gate.keys.is_revoked(portal.name(), &session) => Step::Decided(self.sign_in(Reason::Revoked)),
            _ if has_role => Step::Decided(gate.allow(ask, terms, session.into_identity(), seconds, None)),
            _ => Step::Decided(Decision::Deny(Reason::Role)),
        }
    }

    fn open(
        self,
        portal: &'a Arc<Portal>,
        backend: &'a Arc<Guarded>,
        session: PortalSession<'a>,
        seconds: u64,
    ) -> Step<'a> {
        let Self { gate, ask, terms, .. } = self;
        let Some(login) = backend.login_name(session.identity()) else {
            return Step::Decided(Decision::Deny(Reason::NoCredentials));
        };
        if self.purpose == Purpose::Pass {
            match gate.keys.find(portal.name(), &session, backend, &login, || ask.browser.client()) {
                FoundKeys::Keys(keys) => {
                    let allow = gate.allow(ask, terms, session.into_identity(), seconds, Some((backend, keys)));
                    return Step::Decided(allow);
                }
                FoundKeys::Revoked => return Step::Decided(self.sign_in(Reason::Revoked)),
                FoundKeys::Nothing => {}
            }
        }
        let login = login.into_owned();
        Step::Waiting(Waiting::for_keys(self, portal, backend, session, login))
    }

    /// Sends to the first portal and back to where the browser wanted to go, without the application's key:
    /// that is nothing for the portal's log. Where the whole way back does not fit into an answer, or where
    /// it was asked for by sending something, it leads to the host's first page. Where the portal's session
    /// must be brought here from another domain, the way back leads through the hand-over, or the portal
    /// would send people round in circles.
    pub fn sign_in(&self, reason: Reason) -> Decision<'a> {
        let Self { gate, ask, terms, route, .. } = self;
        let (backend, audience) = (route.backend.as_deref(), ask.audience());
        let origin = ask.host.origin(ask.secure);
        let asked = ask.url_without(backend.and_then(Guarded::query_key));
        let (whole, short) = match backend.and_then(|backend| backend.way_in(&origin)) {
            Some(way_in) => (way_in.returning_to(Some(&asked)), way_in.address),
            None => (asked, format!("{origin}/")),
        };
        let address = |back: &str| terms.portals.first().login_address(&origin, back);
        let whole = Some(whole).filter(|_| audience != Audience::Form).map(|whole| address(&whole));
        let login = whole.filter(|whole| whole.len() <= gate.longest_login).unwrap_or_else(|| address(&short));
        Decision::SignIn { reason, login, audience, challenges: self.challenges(audience) }
    }

    /// Only for programs: to a challenge in the answer to a script the browser would open a window of its
    /// own, and what is typed there is nothing that a portal with a sign-in page has asked for.
    fn challenges(&self, audience: Audience) -> SmallVec<[&'a str; 1]> {
        if !self.terms.authorization || audience != Audience::Program {
            return SmallVec::new();
        }
        self.terms.portals.iter().filter_map(|portal| portal.challenge()).collect()
    }
}
