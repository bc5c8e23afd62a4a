use super::backend::BackendSettings;
use super::portal::PortalSettings;
use super::roles::{NO_ROLE, is_role};
use super::section::{Section, there_is};
use crate::domain::UrlKey;

/// One `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Host name in lower case, without port.
    pub host: String,
    /// Prefix of whole segments, without a slash at its end; empty for the root.
    pub path: String,
    /// Methods, empty for all.
    pub methods: Vec<String>,
    /// Names of portals, tried in this order; none only where `public`.
    pub portals: Vec<String>,
    /// Name of a back-end, if the route has one.
    pub backend: Option<String>,
    /// Any of these; empty for every signed-in user.
    pub roles: Vec<String>,
    /// Whether everybody may.
    pub public: bool,
    /// Whether the portals may go by the `Authorization` header, too.
    pub authorization: bool,
    /// How the back-end's key comes into the query.
    pub url_key: UrlKey,
}

impl RouteSettings {
    pub(super) fn read_all(root: &mut Section, portals: &[PortalSettings], backends: &[BackendSettings]) -> Vec<Self> {
        let mut routes: Vec<Self> = Vec::new();
        // Those that can be compared: what stands in for an unreadable value covers too much.
        let mut readable: Vec<usize> = Vec::new();
        // Named by their number: many routes share a host.
        for mut section in root.sections("route", "") {
            let route = Self::read(&mut section);
            route.check_names(&section, portals, backends);
            if !["host", "path", "methods"].iter().any(|key| section.noted(key)) {
                if let Some(earlier) = readable.iter().find(|earlier| routes[**earlier].covers(&route)) {
                    let number = earlier + 1;
                    section
                        .mistake_here(&format!("can never match, because route {number} comes first; put it in front"));
                }
                readable.push(routes.len());
            }
            section.finish();
            routes.push(route);
        }
        routes
    }

    fn read(section: &mut Section) -> Self {
        let mut host = section.required("host").to_ascii_lowercase();
        if let Err(message) = check_host(&host) {
            section.mistake("host", &message);
            host.clear();
        }
        let mut path = section.text("path").unwrap_or_else(|| "/".to_owned());
        if let Err(message) = check_path(&path) {
            section.mistake("path", message);
            path.clear();
        }
        path.truncate(path.trim_end_matches('/').len());
        Self {
            host,
            path,
            methods: read_methods(section),
            portals: read_portals(section),
            backend: section.text("backend"),
            roles: read_roles(section),
            public: section.flag("public", false),
            authorization: section.flag("authorization", false),
            url_key: section.choice(
                "url_key",
                UrlKey::Upstream,
                &[("upstream", UrlKey::Upstream), ("address", UrlKey::Address)],
            ),
        }
    }

    fn check_names(&self, section: &Section, portals: &[PortalSettings], backends: &[BackendSettings]) {
        if self.url_key == UrlKey::Address {
            if self.public {
                section.mistake(
                    "url_key",
                    "puts a signed-in user's key into the address, and public = true lets everybody in; \
                     keep one of them",
                );
            } else if self.backend.is_none() {
                section.mistake("url_key", "is about the key of a back-end, and the route has none; name one");
            }
        }
        if self.public {
            if !self.roles.is_empty() {
                section.mistake("roles", "ask for somebody, and public = true lets everybody in; keep one of them");
            }
            if self.authorization {
                section.mistake(
                    "authorization",
                    "asks for somebody, and public = true lets everybody in; keep one of them",
                );
            }
            if !self.portals.is_empty() {
                section.mistake("portal", "asks who it is, and public = true lets everybody in; keep one of them");
            }
        } else if self.portals.is_empty() && !section.noted("portal") {
            section.mistake("portal", "is missing; name one, or write public = true to let everybody in");
        }
        if self.portals.iter().any(|name| !portals.iter().any(|portal| portal.name == *name)) {
            let names = portals.iter().map(|portal| &*portal.name);
            section.mistake("portal", &format!("is not the name of a [[portal]]; {}", there_is(names)));
        }
        if self.backend.as_ref().is_some_and(|name| !backends.iter().any(|backend| backend.name == *name)) {
            let names = backends.iter().map(|backend| &*backend.name);
            section.mistake("backend", &format!("is not the name of a [[backend]]; {}", there_is(names)));
        }
    }

    /// Whether every request that `later` matches is matched by this route as well.
    fn covers(&self, later: &Self) -> bool {
        let below = later.path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let methods = self.methods.is_empty()
            || (!later.methods.is_empty() && later.methods.iter().all(|method| self.methods.contains(method)));
        self.host == later.host && below && methods
    }
}

/// A host must be written as browsers send it, since it is compared letter by letter.
fn check_host(host: &str) -> Result<(), String> {
    let canonical = url::Host::parse(host).map(|host| host.to_string());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    match canonical {
        Ok(canonical) if canonical != host => Err(format!("must be written \"{canonical}\", as browsers send it")),
        Ok(_) if host.len() <= 253 && host.bytes().all(plain) && host.split('.').all(|label| !label.is_empty()) => {
            Ok(())
        }
        _ => Err("must be a host name without port, such as \"webmail.example.test\"".to_owned()),
    }
}

/// Only characters that have one spelling, so that no reading of a request's path can differ from
/// the route's.
fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("must start with a slash");
    }
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)) {
        return Err("may hold only letters, digits, / - . _ and ~");
    }
    if path.contains("//") || path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("must not hold // or a segment of dots; browsers never send them");
    }
    Ok(())
}

/// One portal, or a list of them.
fn read_portals(section: &mut Section) -> Vec<String> {
    let portals = section.text_or_texts("portal").unwrap_or_default();
    if let Some(twice) = portals.iter().enumerate().find(|(index, name)| portals[..*index].contains(name)) {
        section.mistake("portal", &format!("names {:?} twice", twice.1));
    }
    portals
}

fn read_methods(section: &mut Section) -> Vec<String> {
    let Some(methods) = section.texts("methods") else { return Vec::new() };
    if methods.is_empty() {
        section.mistake("methods", "is empty, so the route would match nothing; leave it out for all methods");
    }
    for (index, method) in methods.iter().enumerate() {
        let token = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
        if method.is_empty() || !method.bytes().all(token) {
            section.mistake(&format!("methods[{}]", index + 1), "must be a method in capitals, such as \"GET\"");
        }
    }
    methods
}

fn read_roles(section: &mut Section) -> Vec<String> {
    let Some(roles) = section.texts("roles") else { return Vec::new() };
    if roles.is_empty() {
        section.mistake("roles", "is empty, so nobody could pass; leave it out to let every signed-in user pass");
    }
    for (index, role) in roles.iter().enumerate() {
        if !is_role(role) {
            section.mistake(&format!("roles[{}]", index + 1), NO_ROLE);
        }
    }
    roles
}
