use std::io;
use std::sync::Arc;

use actix_web::http::header::HeaderName;

use super::assemble::Parts;
use super::foundation::Foundation;
use crate::backend::BackendPlan;
use crate::config::RouteSettings;
use crate::decision::{Access, Gate, Route, Router, Terms};
use crate::handover::{Entrance, Reception, SelfService, Services};
use crate::portal::Portals;
use crate::transport::{Label, Live, Trust};

/// Connects the parts of one configuration. Sessions at back-ends that it still knows go on.
///
/// The configuration was checked, so nothing is missing; if something were, no route may become
/// wider for it.
pub(super) fn connect(parts: Parts, foundation: &Foundation) -> io::Result<Live> {
    let Foundation { keys, sessions, accounts, tokens, metrics, clock, store, .. } = foundation;
    for warning in parts.warnings {
        tracing::warn!(%warning, "the configuration is right, and hardly meant so");
    }
    let settings = parts.settings;
    let portals: Vec<_> = parts.portals.into_iter().map(|portal| portal.build(metrics)).collect();
    let running = keys.backends();
    let build = |plan: BackendPlan| plan.build(&running, metrics, Arc::clone(clock), store.as_ref());
    let backends: Vec<_> = parts.backends.into_iter().map(build).collect();
    let missing = |what: &str| io::Error::other(format!("{what} is not configured"));
    let route = |route: RouteSettings| {
        let tried = route.portals.iter().map(|name| {
            let found = portals.iter().find(|portal| portal.name() == name);
            found.cloned().ok_or_else(|| missing(&format!("portal {name}")))
        });
        let tried = Portals::new(tried.collect::<io::Result<Vec<_>>>()?);
        let backend = route.backend.map(|name| {
            let found = backends.iter().find(|backend| backend.name() == name);
            found.cloned().ok_or_else(|| missing(&format!("back-end {name}")))
        });
        let access = match (route.public, tried) {
            (true, _) => Access::Public,
            (false, None) => return Err(missing("the portal of a route")),
            (false, Some(portals)) => Access::SignedIn(Terms {
                portals,
                authorization: route.authorization,
                roles: route.roles,
                url_key: route.url_key,
            }),
        };
        let (host, path, methods) = (route.host, route.path, route.methods);
        Ok(Route { host, path, methods, access, backend: backend.transpose()? })
    };
    let routes = settings.routes.into_iter().map(route).collect::<io::Result<Vec<Route>>>()?;
    let entrances: Vec<_> = routes.iter().filter_map(entrance_of).collect();
    let router = Router::new(routes);
    let label = |name: String| HeaderName::try_from(name).map(|name| Label::from(&name));
    let [user, name, email, groups] = settings.identity_headers.map(label);
    let unusable = |error| io::Error::other(format!("[headers]: {error}"));
    let identity_headers =
        [user.map_err(unusable)?, name.map_err(unusable)?, email.map_err(unusable)?, groups.map_err(unusable)?];
    keys.configure(settings.key_limit, &backends);
    accounts.configure(portals.iter().filter_map(|portal| portal.passwords()).collect());
    sessions.set_limit(settings.session_limit);
    if let (Some(store), Some(plan)) = (store, parts.store) {
        store.configure(plan);
    }
    let return_to = settings.logout_return_to;
    Ok(Live {
        reception: Reception::new(entrances.clone(), Arc::clone(keys), Arc::clone(tokens), Arc::clone(clock)),
        self_service: SelfService::new(
            portals.clone(),
            entrances,
            Arc::clone(keys),
            Arc::clone(clock),
            return_to,
            metrics,
        ),
        services: Services::new(portals.clone(), backends),
        gate: Gate::new(router, portals, Arc::clone(keys), Arc::clone(clock), settings.answer_limit),
        trust: Trust { proxies: settings.proxies, unix: settings.trust_unix },
        answer_limit: settings.answer_limit,
        identity_headers,
        api_keys: settings.api_keys,
        accounts: Arc::clone(accounts),
        pages: parts.pages,
    })
}

fn entrance_of(route: &Route) -> Option<Entrance> {
    let (Access::SignedIn(terms), Some(backend)) = (&route.access, &route.backend) else { return None };
    let (host, path, backend) = (route.host.clone(), route.path.clone(), Arc::clone(backend));
    Some(Entrance { host, path, backend, portals: terms.portals.clone(), roles: terms.roles.clone() })
}
