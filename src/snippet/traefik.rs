//! Traefik, which asks with its middleware `forwardAuth`. What each line is there for stands beside it in the templates;
//! what was tried is in `examples/traefik/README.md`.

use super::clients::{not_theirs, spellings};
use super::site::Place;
use super::{Door, File, Host, Site, SnippetError, Upstream, fill};

/// Of the browser's headers, what Keyward goes by.
const ASKED_WITH: &[&str] = &[
    "Accept",
    "Accept-Language",
    "Cookie",
    "Origin",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "User-Agent",
    "X-Requested-With",
];

/// What Traefik itself says to applications.
const ITS_OWN: &[&str] = &[
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Real-IP",
];

/// `dynamic/site.yml`, and what is beside it.
pub(super) fn write(site: &Site) -> Result<Vec<File>, SnippetError> {
    let Door::Tcp(auth) = &site.auth else {
        return Err(SnippetError::at(
            "listen.auth",
            "is a Unix socket, and Traefik can only ask at a port; write ip:port",
        ));
    };
    for (host, place) in site.hosts.iter().flat_map(|host| host.places.iter().map(move |place| (host, place))) {
        if place.lacks_key {
            let message =
                "is \"upstream\", and Traefik cannot put a key into the query; write url_key = \"address\" there";
            return Err(SnippetError::at(format!("route[{}{}].url_key", host.name, place.path), message));
        }
    }
    let public = site.public.to_string();
    let static_file = fill(include_str!("templates/traefik/traefik.yml"), &[("PUBLIC", &public)]);
    Ok(vec![
        File { path: "dynamic/site.yml", text: site_file(site) },
        File { path: "dynamic/keyward.yml", text: keyward_file(site, &auth.to_string()) },
        File { path: "traefik.yml", text: static_file },
    ])
}

fn site_file(site: &Site) -> String {
    let routers: String = site.hosts.iter().enumerate().map(|(number, host)| routers_of(host, number)).collect();
    let services: String = site.upstreams().into_iter().map(service).collect();
    let values = [("ROUTERS", routers.trim_end()), ("SERVICES", services.trim_end())];
    fill(include_str!("templates/traefik/site.yml"), &values)
}

fn routers_of(host: &Host, number: usize) -> String {
    let name = format!("host-{}", number + 1);
    let pages = fill(include_str!("templates/traefik/pages.part"), &[("ROUTER", &name), ("HOST", &host.name)]);
    let place = |(number, place)| router(host, &format!("{name}-place-{}", number + 1), place);
    pages + &host.places.iter().enumerate().map(place).collect::<String>()
}

/// One path. Traefik's own order goes by the length of rules; this goes by that of paths.
fn router(host: &Host, name: &str, place: &Place) -> String {
    let path = &place.path;
    let below = match path.as_str() {
        "" => String::new(),
        path => format!(" && (Path(`{path}`) || PathPrefix(`{path}/`))"),
    };
    let rule = format!("Host(`{}`){below}", host.name);
    let ask = if place.takes_authorization { "keyward-ask-with-authorization" } else { "keyward-ask" };
    // Traefik's own service that answers everything with 418.
    let service = place.upstream.as_ref().map_or("noop@internal".to_owned(), name_of);
    let priority = (path.len() + 1).to_string();
    let values =
        [("ROUTER", name), ("RULE", &rule), ("PRIORITY", &priority), ("ASK", ask), ("SERVICE", service.as_str())];
    fill(include_str!("templates/traefik/router.part"), &values)
}

fn service(upstream: &Upstream) -> String {
    fill(include_str!("templates/traefik/service.part"), &[("NAME", &name_of(upstream)), ("URL", &upstream.url())])
}

/// Beside Keyward's own service, whatever a back-end is called.
fn name_of(upstream: &Upstream) -> String {
    format!("backend-{}", upstream.name)
}

fn keyward_file(site: &Site, auth: &str) -> String {
    let mut forgotten: Vec<String> = not_theirs(site).into_iter().flat_map(spellings).collect();
    forgotten.retain(|name| !ITS_OWN.contains(&name.as_str()));
    let forget: String = forgotten.iter().map(|name| format!("          {name}: \"\"\n")).collect();
    let mut asks = String::new();
    if site.places().any(|place| !place.takes_authorization) {
        asks += &ask(site, auth, "keyward-ask", "# The question.", false);
    }
    if site.places().any(|place| place.takes_authorization) {
        let comment = "# The question where the client's own Authorization may be for Keyward (authorization = true).";
        asks += &ask(site, auth, "keyward-ask-with-authorization", comment, true);
    }
    let values = [("AUTH", auth), ("FORGET", forget.trim_end()), ("ASKS", asks.as_str())];
    fill(include_str!("templates/traefik/keyward.yml"), &values)
}

fn ask(site: &Site, auth: &str, name: &str, comment: &str, with_authorization: bool) -> String {
    let list = |names: &[&str]| -> String { names.iter().map(|name| format!("          - {name}\n")).collect() };
    let mut asked_with = ASKED_WITH.to_vec();
    if with_authorization {
        asked_with.push("Authorization");
    }
    let answered: Vec<&str> = site.identity_headers.iter().map(String::as_str).collect();
    let mut names: Vec<&str> =
        site.upstreams().into_iter().flat_map(|upstream| &upstream.script_cookies).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let cookies = match names.as_slice() {
        [] => String::new(),
        names => format!(
            "        # On a yes the browser gets these cookies from Keyward, which the application's scripts read.\n        \
             addAuthCookiesToResponse:\n{}",
            list(names)
        ),
    };
    let (request, response) = (list(&asked_with), list(&answered));
    let values = [
        ("COMMENT", comment),
        ("NAME", name),
        ("AUTH", auth),
        ("REQUEST", request.as_str()),
        ("RESPONSE", &response),
        ("COOKIES", &cookies),
    ];
    fill(include_str!("templates/traefik/ask.part"), &values)
}
