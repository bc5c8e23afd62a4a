//! Envoy, which asks over gRPC or over HTTP (`ext_authz`). What each line is there for stands beside it in the
//! templates; what was tried is in `examples/envoy/README.md`.

use std::net::IpAddr;

use super::site::Place;
use super::{Door, File, Host, Site, SnippetError, Upstream, clients, fill, fill_made, outage};

/// How Envoy asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Grpc,
    Http,
}

/// `envoy.yaml` that asks over gRPC.
pub(super) fn write_grpc(site: &Site) -> Result<Vec<File>, SnippetError> {
    write(site, By::Grpc)
}

/// `envoy.yaml` that asks over HTTP.
pub(super) fn write_http(site: &Site) -> Result<Vec<File>, SnippetError> {
    write(site, By::Http)
}

fn write(site: &Site, by: By) -> Result<Vec<File>, SnippetError> {
    let (server, how) = match by {
        By::Grpc => ("envoy-grpc", "over gRPC"),
        By::Http => ("envoy", "over HTTP"),
    };
    let each = |names: &[&str], indent: &str, word: &str| -> String {
        let lines = names.iter().map(|name| format!("{indent}- {word}: {}", name.to_ascii_lowercase()));
        lines.collect::<Vec<_>>().join("\n")
    };
    let identity: Vec<&str> = site.identity_headers.iter().map(String::as_str).collect();
    let seconds = site.patience().to_string();
    let names: Vec<&str> = site.hosts.iter().map(|host| host.name.as_str()).collect();
    // What nobody is asked about has no answer to wait for.
    let open = if by == By::Http { include_str!("templates/envoy/open.part") } else { "" };
    let hosts: String = site.hosts.iter().map(|host| virtual_host(host, &seconds, open)).collect();
    let values = [
        ("SERVER", server.to_owned()),
        ("HOW", how.to_owned()),
        ("HOSTNAMES", names.join(", ")),
        ("ADDRESS", site.public.ip().to_string()),
        ("PORT", site.public.port().to_string()),
        ("BEFORE", if by == By::Http { include_str!("templates/envoy/before.part") } else { "" }.to_owned()),
        ("ASK", ask(site, by, &seconds, &each(&identity, "                    ", "exact"))),
        ("REMOVE", each(&clients::not_theirs(site), "              ", "remove")),
        ("VIRTUAL_HOSTS", hosts),
        ("OPEN", open.to_owned()),
        ("CLUSTERS", clusters(site, by)?),
        ("KEYWARD_DOWN", page(&outage::of_keyward())),
        ("APPLICATION_DOWN", page(&outage::of_application())),
    ];
    let text = fill_made(include_str!("templates/envoy/envoy.yaml"), &values);
    Ok(vec![File { path: "envoy.yaml", text }])
}

/// How Envoy is to ask, and, over HTTP, what makes the answer's address that of the request.
fn ask(site: &Site, by: By, seconds: &str, identity: &str) -> String {
    match by {
        By::Grpc => fill(include_str!("templates/envoy/grpc.part"), &[("TIMEOUT", seconds)]),
        By::Http => {
            let credentials = match site.places().any(|place| place.takes_authorization) {
                true => "                - exact: authorization\n",
                false => "",
            };
            let values = [("TIMEOUT", seconds), ("CREDENTIALS", credentials), ("UPSTREAM_IDENTITY", identity)];
            fill(include_str!("templates/envoy/http.part"), &values) + include_str!("templates/envoy/behind.part")
        }
    }
}

fn virtual_host(host: &Host, seconds: &str, open: &str) -> String {
    let places: String = host.places.iter().map(route).collect();
    let places = places.trim_end_matches('\n');
    fill(
        include_str!("templates/envoy/host.part"),
        &[("NAME", &host.name), ("TIMEOUT", seconds), ("OPEN", open), ("PLACES", places)],
    )
}

fn route(place: &Place) -> String {
    let matched = match place.path.as_str() {
        "" => "prefix: /".to_owned(),
        path => format!("path_separated_prefix: \"{path}\""),
    };
    match &place.upstream {
        Some(upstream) => {
            let values = [("MATCH", matched.as_str()), ("CLUSTER", &cluster_name(upstream))];
            fill(include_str!("templates/envoy/place.part"), &values)
        }
        None => fill(include_str!("templates/envoy/bare.part"), &[("MATCH", &matched)]),
    }
}

fn cluster_name(upstream: &Upstream) -> String {
    format!("application-{}", upstream.name)
}

fn clusters(site: &Site, by: By) -> Result<String, SnippetError> {
    let mut text = cluster("keyward", "STATIC", "", &door(&site.auth));
    if by == By::Grpc {
        let grpc = site.grpc.as_ref();
        let grpc =
            grpc.ok_or_else(|| SnippetError::at("listen.grpc", "is off, and Envoy asks there; write ip:port"))?;
        text += &cluster("keyward_grpc", "STATIC", include_str!("templates/envoy/http2.part"), &door(grpc));
    }
    text.extend(site.upstreams().into_iter().map(application));
    Ok(text.trim_end_matches('\n').to_owned())
}

fn application(upstream: &Upstream) -> String {
    // Every authority has a port.
    let (host, port) = upstream.authority.rsplit_once(':').unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = host.parse::<IpAddr>().is_ok();
    let tls = match upstream.secure {
        true => {
            let san = if is_address { "IP_ADDRESS" } else { "DNS" };
            fill(include_str!("templates/envoy/tls.part"), &[("HOST", host), ("SAN", san)])
        }
        false => String::new(),
    };
    let found = if is_address { "STATIC" } else { "STRICT_DNS" };
    cluster(&cluster_name(upstream), found, &tls, &socket_address(host, port))
}

fn cluster(name: &str, found: &str, more: &str, endpoint: &str) -> String {
    let values = [("NAME", name), ("TYPE", found), ("MORE", more), ("ENDPOINT", endpoint)];
    fill(include_str!("templates/envoy/cluster.part"), &values)
}

fn door(door: &Door) -> String {
    match door {
        Door::Tcp(address) => socket_address(&address.ip().to_string(), &address.port().to_string()),
        Door::Unix(path) => format!("pipe: {{ path: \"{path}\" }}"),
    }
}

fn socket_address(host: &str, port: &str) -> String {
    format!("socket_address: {{ address: \"{host}\", port_value: {port} }}")
}

/// A page as a block of YAML. Envoy puts its own words in where it sees a percent sign.
fn page(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| format!("                    {}", line.replace('%', "%%"))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{place, site};
    use super::*;

    fn text(site: &Site, by: By) -> String {
        write(site, by).unwrap().remove(0).text
    }

    #[test]
    fn it_asks_where_keyward_listens() {
        let mut site = site();
        assert_eq!(write(&site, By::Grpc).unwrap_err().key, "listen.grpc");
        site.grpc = Some(Door::Unix("/run/keyward/grpc.sock".to_owned()));
        assert!(text(&site, By::Grpc).contains("pipe: { path: \"/run/keyward/grpc.sock\" }"));
        assert!(text(&site, By::Http).contains("address: \"127.0.0.1\", port_value: 8420 }"));
    }

    #[test]
    fn it_waits_longer_than_a_question_takes() {
        let mut site = site();
        site.longest_question = std::time::Duration::from_millis(40_500);
        assert!(text(&site, By::Http).contains("timeout: 41s"));
    }

    #[test]
    fn an_application_is_found_by_its_name_or_address_and_known_by_its_certificate() {
        let mut site = site();
        site.hosts[0].places = vec![place("/mail", "https", "mail.example.test:8443", true)];
        let named = text(&site, By::Http);
        for part in [
            "type: STRICT_DNS",
            "sni: \"mail.example.test\"",
            "san_type: DNS",
            "port_value: 8443 }",
            "path_separated_prefix: \"/mail\"",
            "\n                - exact: authorization\n",
        ] {
            assert!(named.contains(part), "{part} in {named}");
        }
        site.hosts[0].places = vec![place("", "https", "[2001:db8::7]:443", false)];
        let numbered = text(&site, By::Http);
        assert!(numbered.contains("address: \"2001:db8::7\", port_value: 443 }") && numbered.contains("IP_ADDRESS"));
        assert!(!numbered.contains("\n                - exact: authorization\n"));
    }

    #[test]
    fn whoever_renames_a_header_has_it_cleared_and_set() {
        let mut site = site();
        site.identity_headers[0] = "X-Sso-User".to_owned();
        let text = text(&site, By::Http);
        assert!(text.contains("- remove: x-sso-user\n") && text.contains("- exact: x-sso-user\n"), "{text}");
    }
}
