//! lighttpd, which asks over FastCGI and does the rest in Lua (`mod_magnet`). What each line is there for stands
//! beside it in the templates; what was tried is in `examples/lighttpd/README.md`.

use super::site::Place;
use super::{Door, File, Host, Site, SnippetError, clients, fill, fill_made, outage, variables};

/// `site.conf`, and what it includes.
pub(super) fn write(site: &Site) -> Result<Vec<File>, SnippetError> {
    let identity = variables::of_identity(site)?;
    let names = clients::not_theirs(site).into_iter().map(str::to_ascii_lowercase);
    let names: String = names.map(|name| format!("    [\"{name}\"] = true,\n")).collect();
    let give: String = identity.iter().map(|(header, name)| format!("give(\"{header}\", \"{name}\")\n")).collect();
    let public = format!("http://{}", site.public);
    let (address, port) = (site.public.ip().to_string(), site.public.port().to_string());
    let address = if site.public.is_ipv6() { format!("[{address}]") } else { address };
    let page = outage::of_keyward();
    let values = [
        ("NAMES", names.as_str()),
        ("GIVE", &give),
        ("PUBLIC", &public),
        ("ADDRESS", &address),
        ("PORT", &port),
        ("KEYWARD_DOWN", page.trim_end()),
    ];
    let file = |path, template| File { path, text: fill(template, &values) };
    Ok(vec![
        File { path: "site.conf", text: site_file(site)? },
        file("lighttpd.conf", include_str!("templates/lighttpd/lighttpd.conf")),
        file("keyward/server.conf", include_str!("../../examples/lighttpd/keyward/server.conf")),
        file("keyward/host.conf", include_str!("../../examples/lighttpd/keyward/host.conf")),
        file("keyward/nobody.lua", include_str!("../../examples/lighttpd/keyward/nobody.lua")),
        file("keyward/request.lua", include_str!("templates/lighttpd/request.lua")),
        file("keyward/pass.lua", include_str!("templates/lighttpd/pass.lua")),
        file("keyward/answer.lua", include_str!("templates/lighttpd/answer.lua")),
        File { path: "keyward/errors/502.html", text: outage::of_application() },
        File { path: "keyward/errors/503.html", text: outage::of_application() },
        File { path: "keyward/errors/504.html", text: outage::of_application() },
    ])
}

fn site_file(site: &Site) -> Result<String, SnippetError> {
    let Some(fastcgi) = &site.fastcgi else {
        return Err(SnippetError::at("listen.fastcgi", "is off, and lighttpd asks there; write ip:port or unix:/path"));
    };
    let timeout = site.patience().to_string();
    let (auth, fastcgi) = (address_of(&site.auth), address_of(fastcgi));
    let mut hosts = String::new();
    for host in &site.hosts {
        let values = [
            ("PLACES", places(host)?),
            ("HOST", pattern(&host.name)),
            ("AUTH", auth.clone()),
            ("FASTCGI", fastcgi.clone()),
            ("TIMEOUT", timeout.clone()),
        ];
        hosts.push_str(&fill_made(include_str!("templates/lighttpd/host.part"), &values));
    }
    Ok(fill(include_str!("templates/lighttpd/site.conf"), &[("HOSTS", hosts.trim_end())]))
}

/// What is where, as one chain of conditions. Where nothing is, Keyward says no.
fn places(host: &Host) -> Result<String, SnippetError> {
    let mut chain = String::new();
    for place in &host.places {
        let served = served(place)?;
        let deeper = served.replace("        ", "            ");
        let link = if chain.is_empty() { "        " } else { "        else " };
        if place.path.is_empty() && chain.is_empty() {
            chain.push_str(&served);
        } else if place.path.is_empty() {
            chain.push_str(&format!("        else {{\n{deeper}        }}\n"));
        } else {
            let path = pattern(&place.path);
            chain.push_str(&format!("{link}$HTTP[\"url\"] =~ \"^{path}(?:/|$)\" {{\n{deeper}        }}\n"));
        }
    }
    Ok(chain)
}

fn served(place: &Place) -> Result<String, SnippetError> {
    let Some(upstream) = &place.upstream else { return Ok(include_str!("templates/lighttpd/bare.part").to_owned()) };
    if upstream.secure {
        let message = "is https, which lighttpd does not speak to an application; write http, through a tunnel of \
                       yours (stunnel) where the network between is not yours";
        return Err(SnippetError::at(format!("backend[{}].url", upstream.name), message));
    }
    let (address, port) = upstream.authority.rsplit_once(':').unwrap_or((&upstream.authority, "80"));
    // Without the brackets of IPv6, as every other address here.
    let address = address.trim_matches(['[', ']']);
    let authority = format!("{}: http://{}", upstream.name, upstream.authority);
    let values = [("AUTHORITY", authority.as_str()), ("ADDRESS", address), ("PORT", port)];
    Ok(fill(include_str!("templates/lighttpd/place.part"), &values))
}

fn address_of(door: &Door) -> String {
    match door {
        Door::Tcp(address) => format!("\"host\" => \"{}\", \"port\" => {}", address.ip(), address.port()),
        Door::Unix(path) => format!("\"socket\" => \"{path}\""),
    }
}

/// A regular expression that is only this text.
fn pattern(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '/' || letter == '-' || letter == '_';
    text.chars().map(|letter| if plain(letter) { letter.to_string() } else { format!("\\{letter}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{place, site};
    use super::*;

    #[test]
    fn places_are_one_chain_of_conditions() {
        let mut site = site();
        site.hosts[0].places = vec![
            place("/mail/v1.2", "http", "127.0.0.1:8001", false),
            place("/cal", "http", "[::1]:8002", false),
            place("", "http", "127.0.0.1:8000", false),
        ];
        let text = write(&site).unwrap().remove(0).text;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let at = lines.iter().position(|line| line.starts_with("proxy.header")).unwrap();
        let chain = [
            "$HTTP[\"url\"] =~ \"^/mail/v1\\.2(?:/|$)\" {",
            "# mail: http://127.0.0.1:8001",
            "proxy.server = ( \"\" => (( \"host\" => \"127.0.0.1\", \"port\" => 8001, \"disable-time\" => 0 )) )",
            "}",
            "else $HTTP[\"url\"] =~ \"^/cal(?:/|$)\" {",
            "# mail: http://[::1]:8002",
            "proxy.server = ( \"\" => (( \"host\" => \"::1\", \"port\" => 8002, \"disable-time\" => 0 )) )",
            "}",
            "else {",
            "# mail: http://127.0.0.1:8000",
            "proxy.server = ( \"\" => (( \"host\" => \"127.0.0.1\", \"port\" => 8000, \"disable-time\" => 0 )) )",
            "}",
        ];
        assert_eq!(lines[at + 1..at + 1 + chain.len()], chain, "{text}");
        assert!(text.contains("$HTTP[\"host\"] =~ \"^webmail\\.example\\.test(?::[0-9]+)?$\""), "{text}");
    }

    #[test]
    fn what_lighttpd_cannot_do_is_refused_with_its_key() {
        let mut off = site();
        off.fastcgi = None;
        assert_eq!(write(&off).unwrap_err().key, "listen.fastcgi");
        let mut secure = site();
        secure.hosts[0].places = vec![place("", "https", "127.0.0.1:8443", false)];
        assert_eq!(write(&secure).unwrap_err().key, "backend[mail].url");
    }

    #[test]
    fn a_question_may_take_as_long_as_keyward_takes() {
        let mut site = site();
        site.fastcgi = Some(Door::Unix("/run/keyward/fastcgi.sock".to_owned()));
        let text = write(&site).unwrap().remove(0).text;
        assert!(text.contains("\"read-timeout\" => 21,"), "{text}");
        assert!(text.contains("\"socket\" => \"/run/keyward/fastcgi.sock\","), "{text}");
    }
}
