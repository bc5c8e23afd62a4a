use std::sync::Arc;

use super::entry::Entry;
use super::{Decision, Purpose, Step};
use crate::backend::Guarded;
use crate::domain::{Reason, Ruling};
use crate::keys::{NoKeys, Order, password_of};
use crate::portal::{Portal, PortalSession, Unfinished};

/// A question whose answer needs a portal, a login or a check.
pub struct Waiting<'a>(Stage<'a>);

enum Stage<'a> {
    Portals(Entry<'a>, Unfinished),
    Keys(Opening<'a>),
}

/// Somebody who may pass, and lacks keys.
struct Opening<'a> {
    entry: Entry<'a>,
    portal: &'a Arc<Portal>,
    backend: &'a Arc<Guarded>,
    session: PortalSession<'a>,
    login: String,
}

impl<'a> Waiting<'a> {
    pub(super) const fn for_portals(entry: Entry<'a>, unfinished: Unfinished) -> Self {
        Self(Stage::Portals(entry, unfinished))
    }

    pub(super) const fn for_keys(
        entry: Entry<'a>,
        portal: &'a Arc<Portal>,
        backend: &'a Arc<Guarded>,
        session: PortalSession<'a>,
        login: String,
    ) -> Self {
        Self(Stage::Keys(Opening { entry, portal, backend, session, login }))
    }

    /// Waits for the portal, at most as long as it is given, and then for the login, at most the back-end's
    /// `login_timeout`. When dropped, what was begun goes on for the next request.
    pub async fn finish(self) -> Decision<'a> {
        // Whoever has been asked is not asked again, so this comes round once at most.
        let mut stage = self.0;
        loop {
            stage = match stage {
                Stage::Keys(opening) => return opening.finish().await,
                Stage::Portals(entry, unfinished) => match entry.ask_portals(unfinished).await {
                    Step::Decided(decision) => return decision,
                    Step::Waiting(Self(next)) => next,
                },
            };
        }
    }
}

impl<'a> Opening<'a> {
    async fn finish(self) -> Decision<'a> {
        let Self { entry, portal, backend, session, login } = self;
        let (gate, ask) = (entry.gate, entry.ask);
        // The login may outlive the request, and with it what it needs of the session.
        let session = Arc::new(session.into_owned());
        let client = ask.browser.client();
        let order = Order {
            portal: portal.name(),
            session: &session,
            backend,
            login: &login,
            client: &client,
            password: password_of(portal, backend, &session),
            renew: entry.purpose == Purpose::Renew,
        };
        match gate.keys.obtain(order).await.into_keys() {
            Ok(keys) => {
                let seconds = session.expires().saturating_sub(gate.clock.unix());
                if seconds == 0 {
                    // It ended while it waited.
                    return entry.sign_in(Reason::Expired);
                }
                gate.allow(ask, entry.terms, session.identity().clone(), seconds, Some((backend, keys)))
            }
            Err(NoKeys { reason, retry_after }) => match reason.rulings() {
                [Ruling::Deny] => Decision::Deny(reason),
                [Ruling::Unavailable] => Decision::Unavailable { reason, retry_after },
                _ => entry.sign_in(reason),
            },
        }
    }
}
