use std::collections::BTreeMap;
use std::sync::Arc;

use super::path::Readings;
use crate::backend::Guarded;
use crate::domain::{Reason, UrlKey};
use crate::portal::Portals;

/// One rule: who may go where, and with whose keys.
pub struct Route {
    /// The host, in lower case and without port.
    pub host: String,
    /// Prefix of whole segments, without a slash at its end; empty for everything.
    pub path: String,
    /// Methods it is for; empty for all.
    pub methods: Vec<String>,
    /// Who may pass.
    pub access: Access,
    /// The back-end whose keys are injected, if the route has one.
    pub backend: Option<Arc<Guarded>>,
}

/// Who may pass a route.
pub enum Access {
    /// Everybody.
    Public,
    /// Whom a portal vouches for.
    SignedIn(Terms),
}

/// What is asked of people on a route.
pub struct Terms {
    /// Who may vouch for them.
    pub portals: Portals,
    /// Whether the `Authorization` header may say who it is, where no cookie does.
    pub authorization: bool,
    /// Any of these roles; empty for every signed-in user.
    pub roles: Vec<String>,
    /// How the application's key comes into the query, where it has one there.
    pub url_key: UrlKey,
}

impl Route {
    fn covers(&self, method: &str, path: &str) -> bool {
        let rest = path.strip_prefix(self.path.as_str());
        let whole_segments = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        whole_segments && (self.methods.is_empty() || self.methods.iter().any(|known| known == method))
    }
}

/// All routes, by host, in the order they were written.
pub struct Router {
    /// Sorted by host: comparing some names is less work than hashing one, and nothing that a stranger can name
    /// makes it more.
    hosts: Vec<(String, Vec<Route>)>,
}

impl Router {
    /// Takes the routes in order.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        let mut hosts: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        for route in routes {
            hosts.entry(route.host.clone()).or_default().push(route);
        }
        Self { hosts: hosts.into_iter().collect() }
    }

    /// The one route under which every reading of the path falls.
    ///
    /// # Errors
    /// [`Reason::NoRoute`], or [`Reason::AmbiguousPath`] where readings lead to different routes,
    /// or to a route and to none.
    pub fn find(&self, host: &str, method: &str, path: &str) -> Result<&Route, Reason> {
        let host = self.hosts.binary_search_by(|(known, _)| known.as_str().cmp(host));
        let (_, routes) = &self.hosts[host.map_err(|_| Reason::NoRoute)?];
        let readings = Readings::of(path).map_err(|_| Reason::AmbiguousPath)?;
        let first_match = |reading: &str| routes.iter().position(|route| route.covers(method, reading));
        let mut found = readings.iter().map(first_match);
        let first = found.next().flatten();
        if found.any(|other| other != first) {
            return Err(Reason::AmbiguousPath);
        }
        first.map(|index| &routes[index]).ok_or(Reason::NoRoute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(rules: &[(&str, &str, &[&str])]) -> Router {
        let route = |(host, path, methods): &(&str, &str, &[&str])| Route {
            host: (*host).to_owned(),
            path: (*path).to_owned(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            access: Access::Public,
            backend: None,
        };
        Router::new(rules.iter().map(route).collect())
    }

    #[test]
    fn the_first_route_that_covers_every_reading_counts() {
        let router = router(&[
            ("app", "/public", &[]),
            ("app", "/admin", &[]),
            ("app", "/read", &["GET"]),
            ("app", "/read", &[]),
            ("app", "", &[]),
            ("mail", "/only", &[]),
        ]);
        for (host, method, path, expected) in [
            ("app", "GET", "/public", Ok("/public")),
            ("app", "GET", "/public/x", Ok("/public")),
            ("app", "GET", "/publicx", Ok("")),
            ("app", "GET", "/admin", Ok("/admin")),
            ("app", "GET", "/administrator", Ok("")),
            ("app", "GET", "/admin/%C3%A9", Ok("/admin")),
            ("app", "GET", "/x/100%25", Ok("")),
            ("app", "GET", "/a//b", Ok("")),
            ("app", "GET", "/public/../admin/x", Err(Reason::AmbiguousPath)),
            ("app", "GET", "/%61dmin/x", Err(Reason::AmbiguousPath)),
            ("app", "GET", "//admin/x", Err(Reason::AmbiguousPath)),
            ("app", "GET", "/admin%3fx", Err(Reason::AmbiguousPath)),
            ("app", "GET", "/a\\b", Err(Reason::AmbiguousPath)),
            ("mail", "GET", "/other", Err(Reason::NoRoute)),
            ("mail", "GET", "/only/../other", Err(Reason::AmbiguousPath)),
            ("127.1", "GET", "/", Err(Reason::NoRoute)),
            ("APP", "GET", "/", Err(Reason::NoRoute)),
        ] {
            let found = router.find(host, method, path).map(|route| route.path.as_str());
            assert_eq!(found, expected, "{host} {method} {path}");
        }
    }

    #[test]
    fn a_method_is_compared_letter_by_letter() {
        let router = router(&[("app", "/read", &["GET"])]);
        assert!(router.find("app", "GET", "/read").is_ok());
        for method in ["get", "POST", "HEAD", ""] {
            assert_eq!(router.find("app", method, "/read").err(), Some(Reason::NoRoute), "{method}");
        }
    }
}
