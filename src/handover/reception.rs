use std::sync::Arc;

use smallvec::SmallVec;
use url::Url;

use super::Entrance;
use super::site::Site;
use super::tokens::{Nonce, NotMinted, Passage, Tokens, is_mark, mark_of};
use super::visit::{Arrival, Given, Gone, Step, Visit};
use super::visitor::{Visitor, Wrong};
use crate::domain::{
    Clock, Cookies, ExposeSecret, LONGEST_RETURN, RETURN_PARAMETER, Reason, Secret, SessionHandle, SessionKeys, WayIn,
};
use crate::keys::{KeyStore, NoKeys, Order, password_of};
use crate::portal::{Portal, Shown, Unreachable};
use crate::store::StoreOutage;

/// Hands people over to the applications that routes lead them to.
pub struct Reception {
    entrances: Vec<Entrance>,
    keys: Arc<KeyStore>,
    tokens: Arc<Tokens>,
    clock: Arc<dyn Clock>,
}

impl Reception {
    /// For people who may go through these entrances.
    #[must_use]
    pub fn new(entrances: Vec<Entrance>, keys: Arc<KeyStore>, tokens: Arc<Tokens>, clock: Arc<dyn Clock>) -> Self {
        Self { entrances, keys, tokens, clock }
    }

    /// Takes a visit as far as it goes. Waits for a login, at most the back-end's `login_timeout`.
    pub async fn arrive(&self, visit: &Visit<'_>) -> Arrival {
        let entrances: Vec<&Entrance> = self.to(visit.backend).collect();
        let wanted = match visit.step {
            Step::Mint { at, .. } => at.and_then(|at| Url::parse(at).ok()),
            _ => None,
        };
        let Some(site) = Site::of(&entrances, visit.origin, wanted.as_ref()) else { return Arrival::Unknown };
        match self.take(visit, &site).await {
            Ok(arrival) => arrival,
            Err(arrival) => {
                let reason = match &arrival {
                    Arrival::SignIn { reason, .. } | Arrival::Refused(NoKeys { reason, .. }) => *reason,
                    _ => Reason::BadRequest,
                };
                tracing::info!(backend = visit.backend, reason = reason.as_str(), "not handed over");
                arrival
            }
        }
    }

    async fn take(&self, visit: &Visit<'_>, site: &Site<'_>) -> Result<Arrival, Arrival> {
        let (terms, own) = (site.terms(), visit.origin.origin().ascii_serialization());
        if !self.knows(visit, site) {
            tracing::warn!(
                backend = visit.backend,
                origin = own,
                "a hand-over began at an origin that [backend.enter] does not name"
            );
            return Err(refused(Reason::BadRequest));
        }
        let return_to = return_address(visit, site)?;
        let is_here = site.is_at(visit.origin);
        match visit.step {
            Step::Start if is_here => match terms.way_in(visit.backend, &own) {
                Some(_) => Ok(greet(site, &own, &site.portal(), return_to.as_ref())),
                None => self.enter(visit, site, return_to).await,
            },
            Step::Start => self.start_elsewhere(visit, site, &own, return_to).await,
            Step::Greet(from) if is_here && terms.lists(from) => Ok(greet(site, &own, from, return_to.as_ref())),
            // A portal of the same domain: its cookie is seen here as well.
            Step::Greet(_) if is_here && terms.origins.is_empty() => {
                let entered = self.enter(visit, site, return_to).await;
                entered.map_err(|no| no_circles(no, visit))
            }
            Step::Mint { mark, at } if !is_here && terms.lists(&own) && is_mark(mark) => {
                // A token for another place than the one that waits for it would be of no use.
                if at.is_some_and(|at| at != site.origin()) {
                    return Err(refused(Reason::BadRequest));
                }
                self.mint(visit, site, mark, return_to).await
            }
            Step::Redeem { token, state } if is_here => self.redeem(visit, site, &own, token, state).await,
            Step::Open if terms.sso_init.is_some() => {
                let visitor = self.visitor(visit, return_to.as_ref()).await?;
                let keys = self.obtain(&visitor, visit).await?;
                Ok(Arrival::Inside { cookies: Vec::new(), location: site.first_page(&keys) })
            }
            _ => Err(refused(Reason::BadRequest)),
        }
    }

    /// Into an application on a host that shares its cookies with this one.
    async fn enter(&self, visit: &Visit<'_>, site: &Site<'_>, return_to: Option<Url>) -> Result<Arrival, Arrival> {
        let visitor = self.visitor(visit, return_to.as_ref()).await?;
        let keys = self.obtain(&visitor, visit).await?;
        visitor.enters();
        Ok(Arrival::Inside { cookies: keys_of(site, &keys), location: location(site, &keys, return_to) })
    }

    async fn start_elsewhere(
        &self,
        visit: &Visit<'_>,
        site: &Site<'_>,
        own: &str,
        return_to: Option<Url>,
    ) -> Result<Arrival, Arrival> {
        let terms = site.terms();
        // Where Keyward stands before the application, its host must see the portal's session as well,
        // and only that host knows whether it does.
        if visit.origin.host_str().is_some_and(|host| terms.covers(host)) && !site.is_guarded {
            return self.enter(visit, site, return_to).await;
        }
        let visitor = self.visitor(visit, return_to.as_ref()).await?;
        if let Some(template) = &terms.sso_init {
            let keys = self.obtain(&visitor, visit).await?;
            let back = return_to.map_or_else(|| site.way_in(own).with(&[("then", "open")]), String::from);
            return Ok(Arrival::Onward(site.sso_init(template, &keys, &back)));
        }
        let may_share_cookies = site.is_guarded && terms.origins.is_empty();
        if !may_share_cookies && !terms.lists(own) {
            tracing::warn!(
                backend = visit.backend,
                origin = own,
                "no way leads from this origin to the application; name it in [backend.enter] origins"
            );
            return Err(refused(Reason::BadRequest));
        }
        let at = site.way_in(&site.origin());
        let mut parameters = vec![("from", own)];
        parameters.extend(return_to.as_ref().map(|address| (RETURN_PARAMETER, address.as_str())));
        Ok(Arrival::Across { onward: at.with(&parameters), at: terms.lists(own).then_some(at) })
    }

    /// Opens the session at the back-end first: whatever goes wrong with it is said here, where the person
    /// came from and may try again.
    async fn mint(
        &self,
        visit: &Visit<'_>,
        site: &Site<'_>,
        mark: &str,
        return_to: Option<Url>,
    ) -> Result<Arrival, Arrival> {
        let visitor = self.visitor(visit, return_to.as_ref()).await?;
        self.obtain(&visitor, visit).await?;
        let portal = visitor.portal.name();
        let passage = Passage {
            session: SessionHandle { portal: portal.to_owned(), id: visitor.session.id().to_owned() },
            cookie: visitor.cookie,
            backend: visit.backend.to_owned(),
            destination: site.origin(),
            state: mark.to_owned(),
            return_to,
        };
        let token = self.tokens.mint(passage).await.map_err(|no| match no {
            NotMinted::TooMany => Arrival::Refused(NoKeys::BUSY),
            NotMinted::Unavailable(outage) => unavailable(&outage),
        })?;
        Ok(Arrival::Token { token: token.into(), at: site.way_in(&site.origin()) })
    }

    async fn redeem(
        &self,
        visit: &Visit<'_>,
        site: &Site<'_>,
        own: &str,
        token: &str,
        state: Option<&str>,
    ) -> Result<Arrival, Arrival> {
        let again = || Arrival::Stranger { again: site.way_in(&site.portal()).address };
        let passage = self.tokens.redeem(token).await.map_err(|outage| unavailable(&outage))?.ok_or_else(again)?;
        let known = state.is_some_and(|state| mark_of(state) == passage.state);
        if !known || passage.backend != visit.backend || passage.destination != own {
            tracing::warn!(backend = visit.backend, known, "a token was shown by another browser, or at another place");
            return Err(again());
        }
        let of = &passage.session.portal;
        let shown = passage.cookie.expose_secret();
        let now = self.clock.unix();
        let entrances = self.to(visit.backend).filter(|entrance| entrance.portals.named(of).is_some());
        // To no other portal than the one whose cookie it is.
        let only = |portal: &Portal| match portal.name() == of {
            true => Shown { browser: Some(visit.browser), ..Shown::only(shown) },
            false => Shown { values: SmallVec::new(), authorization: None, browser: Some(visit.browser) },
        };
        let Ok(visitor) = Visitor::first(entrances, only, &self.keys, now).await else { return Err(again()) };
        let keys = self.obtain(&visitor, visit).await?;
        visitor.enters();
        let name = visitor.portal.cookie();
        let cookies = match site.is_guarded {
            false => keys_of(site, &keys),
            // A copy beside one that is seen here anyway would only outlive it.
            true if visit.cookies.values(name).contains(&shown) => Vec::new(),
            true => vec![Given { name: name.to_owned(), value: visitor.cookie, domain: None }],
        };
        Ok(Arrival::Inside { cookies, location: location(site, &keys, passage.return_to) })
    }

    /// Which of the browser's cookies came from here, for the end of its session.
    #[must_use]
    pub fn cookies_given(&self, origin: &Url, cookies: &Cookies<'_>) -> Vec<Gone> {
        let own = origin.origin().ascii_serialization();
        let host = origin.host_str().unwrap_or_default();
        let mut gone = Vec::new();
        for entrance in &self.entrances {
            let Some(site) = Site::of(&[entrance], origin, None) else { continue };
            let terms = site.terms();
            if !site.is_at(origin) && !terms.covers(host) {
                continue;
            }
            let brought = site.is_at(origin) && entrance.backend.way_in(&own).is_some();
            for (name, _) in cookies.pairs() {
                let is_cookie = |portal: &Arc<Portal>| name == portal.cookie().as_bytes();
                let of_portal = brought && entrance.portals.iter().any(is_cookie);
                let Ok(name) = std::str::from_utf8(name) else { continue };
                if !of_portal && !entrance.backend.owns_cookie(name.as_bytes()) {
                    continue;
                }
                let domain = terms.cookie_domain.clone().filter(|_| !of_portal && terms.covers(host));
                let one = Gone { name: name.to_owned(), domain };
                if !gone.contains(&one) {
                    gone.push(one);
                }
            }
        }
        gone
    }

    /// Whether pages of this origin may call from another domain.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        self.entrances.iter().any(|entrance| entrance.backend.enter().lists(origin))
    }

    /// Whether pages of this origin may call about this back-end from another domain.
    #[must_use]
    pub fn lists_for(&self, backend: &str, origin: &str) -> bool {
        self.to(backend).any(|entrance| entrance.backend.enter().lists(origin))
    }

    fn to(&self, backend: &str) -> impl Iterator<Item = &Entrance> {
        self.entrances.iter().filter(move |entrance| entrance.backend.name() == backend)
    }

    /// Whether this is a host of ours: nobody is sent to a portal with a way back to any other.
    fn knows(&self, visit: &Visit<'_>, site: &Site<'_>) -> bool {
        let host = visit.origin.host_str().unwrap_or_default();
        let signs_in_here = |portal: &Arc<Portal>| {
            let login = portal.login_origin();
            login.is_some_and(|login| login.host_str() == Some(host))
        };
        let is_portal = |entrance: &Entrance| entrance.host == host || entrance.portals.iter().any(signs_in_here);
        site.is_at(visit.origin)
            || site.terms().covers(host)
            || site.terms().lists(&visit.origin.origin().ascii_serialization())
            || self.to(visit.backend).any(is_portal)
    }

    /// Who it is, if a route leads them to the back-end.
    async fn visitor(&self, visit: &Visit<'_>, return_to: Option<&Url>) -> Result<Visitor<'_>, Arrival> {
        let shown = |portal: &Portal| portal.shown(visit.cookies, visit.browser, false);
        let visitor = Visitor::first(self.to(visit.backend), shown, &self.keys, self.clock.unix()).await;
        visitor.map_err(|wrong| match wrong {
            None => Arrival::Unknown,
            Some(Wrong::Because(Reason::Role, _)) => refused(Reason::Role),
            Some(Wrong::Because(reason, portal)) => sign_in(reason, portal, visit, return_to),
            Some(Wrong::Unreachable(Unreachable { retry_after })) => {
                Arrival::Refused(NoKeys { reason: Reason::PortalUnavailable, retry_after })
            }
        })
    }

    async fn obtain(&self, visitor: &Visitor<'_>, visit: &Visit<'_>) -> Result<SessionKeys, Arrival> {
        let Visitor { entrance, portal, session, .. } = visitor;
        let (backend, own) = (&entrance.backend, entrance.portals.first());
        let Some(login) = backend.login_name(session.identity()) else { return Err(refused(Reason::NoCredentials)) };
        let order = Order {
            portal: portal.name(),
            session,
            backend,
            login: &login,
            client: &visit.browser.client(),
            password: password_of(portal, backend, session),
            renew: false,
        };
        let keys = self.keys.obtain(order).await.into_keys().map_err(|no| match no.reason {
            Reason::Revoked => sign_in(no.reason, own, visit, None),
            _ => Arrival::Refused(no),
        })?;
        // It may have ended while it waited.
        if session.expires() <= self.clock.unix() {
            return Err(sign_in(Reason::Expired, own, visit, None));
        }
        Ok(keys)
    }
}

/// Nobody can tell at the moment what is shared with other replicas.
fn unavailable(outage: &StoreOutage) -> Arrival {
    Arrival::Refused(NoKeys { reason: Reason::PortalUnavailable, retry_after: outage.retry_after() })
}

/// Where to go in place of the application, if the visit asks for it and may.
fn return_address(visit: &Visit<'_>, site: &Site<'_>) -> Result<Option<Url>, Arrival> {
    let Some(asked) = visit.return_to else { return Ok(None) };
    let allowed = site.return_address(asked).filter(|address| address.as_str().len() <= LONGEST_RETURN);
    if allowed.is_none() {
        tracing::warn!(backend = visit.backend, "a hand-over asked for a return address that return_to does not list");
        return Err(refused(Reason::BadRequest));
    }
    Ok(allowed)
}

/// Who comes from the portal is signed in there. To be sent to sign in would lead round in circles.
fn no_circles(no: Arrival, visit: &Visit<'_>) -> Arrival {
    if !matches!(no, Arrival::SignIn { .. }) {
        return no;
    }
    tracing::warn!(
        backend = visit.backend,
        "the portal's cookie is not seen at the application's host; name the portal's origin in [backend.enter] origins"
    );
    refused(Reason::BadRequest)
}

fn sign_in(reason: Reason, portal: &Portal, visit: &Visit<'_>, return_to: Option<&Url>) -> Arrival {
    let own = visit.origin.origin().ascii_serialization();
    let way_back = WayIn::at(&own, visit.backend).returning_to(return_to.map(Url::as_str));
    Arrival::SignIn { reason, login: portal.login_address(&own, &way_back) }
}

fn refused(reason: Reason) -> Arrival {
    Arrival::Refused(NoKeys { reason, ..NoKeys::BUSY })
}

fn greet(site: &Site<'_>, own: &str, from: &str, return_to: Option<&Url>) -> Arrival {
    let Nonce { text, mark } = Nonce::new();
    let mut parameters = vec![("state", mark.as_str()), ("at", own)];
    parameters.extend(return_to.map(|address| (RETURN_PARAMETER, address.as_str())));
    let onward = site.way_in(from).with(&parameters);
    Arrival::Greeted { state: text.into(), mark, onward }
}

/// The application's own cookies, as its browser would have got them.
fn keys_of(site: &Site<'_>, keys: &SessionKeys) -> Vec<Given> {
    let pairs = keys.cookies().split("; ").filter_map(|pair| pair.split_once('='));
    let domain = &site.terms().cookie_domain;
    let given = |(name, value): (&str, &str)| Given {
        name: name.to_owned(),
        value: Secret::from(value),
        domain: domain.clone(),
    };
    pairs.map(given).collect()
}

fn location(site: &Site<'_>, keys: &SessionKeys, return_to: Option<Url>) -> String {
    return_to.map_or_else(|| site.first_page(keys), String::from)
}
