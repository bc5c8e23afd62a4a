//! Caddy, which asks with `reverse_proxy`: the long form of its `forward_auth`. What each line is there for stands beside
//! it in the templates; what was tried is in `examples/caddy/README.md`.

use super::site::Place;
use super::{Door, File, Host, Site, SnippetError, fill, fill_made, outage};

/// `Caddyfile`, and what it includes.
pub(super) fn write(site: &Site) -> Result<Vec<File>, SnippetError> {
    Ok(vec![
        File { path: "Caddyfile", text: caddyfile(site) },
        File { path: "keyward.caddy", text: keyward_file(site) },
    ])
}

fn caddyfile(site: &Site) -> String {
    let (ip, port) = (site.public.ip().to_string(), site.public.port());
    let hosts: String = site.hosts.iter().map(|host| host_part(host, &ip, port)).collect();
    let values = [("HOSTS", hosts.as_str()), ("EVERYWHERE", &address("", port)), ("IP", &ip)];
    fill(include_str!("templates/caddy/Caddyfile"), &values)
}

fn keyward_file(site: &Site) -> String {
    let auth = match &site.auth {
        Door::Tcp(address) => address.to_string(),
        Door::Unix(path) => format!("unix/{path}"),
    };
    let each =
        |line: &dyn Fn(&str) -> String| -> String { site.identity_headers.iter().map(|name| line(name)).collect() };
    let values = [
        ("AUTH", auth),
        ("PATIENCE", format!("{}s", site.patience())),
        ("LIMIT", format!("{}B", site.answer_limit)),
        ("FORGET", each(&|name| format!("\trequest_header -{name}\n"))),
        ("TAKE", each(&|name| format!("\timport keyward_take {name} {name}\n"))),
        ("KEYWARD_DOWN", outage::of_keyward()),
        ("APPLICATION_DOWN", outage::of_application()),
    ];
    fill_made(include_str!("templates/caddy/keyward.caddy"), &values)
}

fn host_part(host: &Host, ip: &str, port: u16) -> String {
    let places: String = host.places.iter().enumerate().map(|(number, place)| place_part(place, number)).collect();
    let values = [("ADDRESS", address(&host.name, port)), ("IP", ip.to_owned()), ("PLACES", places)];
    fill_made(include_str!("templates/caddy/host.part"), &values)
}

/// Caddy's own matcher for paths takes small letters for large ones, and Keyward does not.
fn place_part(place: &Place, number: usize) -> String {
    let matched = match place.path.as_str() {
        "" => "\t\thandle {\n".to_owned(),
        path => {
            let pattern = path.replace('.', "[.]");
            format!("\t\t@place_{number} path_regexp ^{pattern}(/|$)\n\t\thandle @place_{number} {{\n")
        }
    };
    let authorization = match place.takes_authorization {
        true => "\t\t\t\t# The client's own Authorization may be for Keyward, and goes no further.\n",
        false => "\t\t\t\trequest_header -Authorization\n",
    };
    let (template, url) = match &place.upstream {
        Some(upstream) => (include_str!("templates/caddy/place.part"), upstream.url()),
        None => (include_str!("templates/caddy/bare.part"), String::new()),
    };
    fill(template, &[("MATCH", &matched), ("AUTHORIZATION", authorization), ("URL", &url)])
}

/// A site's address. Where it is that of https Caddy gets certificates by itself.
fn address(name: &str, port: u16) -> String {
    match port {
        443 => format!("https://{name}"),
        80 => format!("http://{name}"),
        port => format!("http://{name}:{port}"),
    }
}
