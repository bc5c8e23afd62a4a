//! Apache httpd, which asks over FastCGI (`mod_authnz_fcgi`). What each line is there for stands beside it in the
//! templates; what was tried is in `examples/apache/README.md`.

use super::site::Place;
use super::{Door, File, Host, Site, SnippetError, clients, fill, fill_made, outage, variables};

/// Longest line of headers that Apache takes from an authorizer, in bytes: 8150 passed and 8500 did not (seen,
/// 2.4.71). What is behind it would go to the browser as the body of a page, keys and all.
const LONGEST_LINE: usize = 8192;

/// `site.conf`, and what it includes.
pub(super) fn write(site: &Site) -> Result<Vec<File>, SnippetError> {
    if site.answer_limit > LONGEST_LINE {
        let message = format!(
            "is {}, and Apache takes no line of more than 8 KiB from Keyward; write answer = {LONGEST_LINE} there",
            site.answer_limit
        );
        return Err(SnippetError::at("limits.answer", message));
    }
    let identity = variables::of_identity(site)?;
    let set = identity.iter().map(|(header, name)| format!("RequestHeader set   {header} {}\n", value_of(name)));
    let not_theirs = clients::not_theirs(site);
    let spelled = not_theirs.iter().flat_map(|name| clients::spellings(name));
    let disguised: Vec<String> = not_theirs.iter().map(|name| name.replace('-', ".")).collect();
    let user = identity.first().map_or("REMOTE_USER", |(_, variable)| variable);
    let (keyward_down, application_down) = (quoted(&outage::of_keyward()), quoted(&outage::of_application()));
    let is_secure = site.hosts.iter().any(is_secure);
    let ssl = "LoadModule ssl_module          ${keyward_modules}/mod_ssl.so\n";
    let values = [
        ("UNSET", spelled.map(|name| format!("RequestHeader unset {name} early\n")).collect()),
        ("DISGUISED", disguised.join("|")),
        ("SET", set.collect()),
        ("USER", user.to_owned()),
        ("KEYWARD_DOWN", keyward_down),
        ("APPLICATION_DOWN", application_down),
        ("SSL", if is_secure { ssl } else { "" }.to_owned()),
    ];
    let file = |path, template| File { path, text: fill_made(template, &values) };
    Ok(vec![
        File { path: "site.conf", text: site_file(site)? },
        file("httpd.conf", include_str!("templates/apache/httpd.conf")),
        file("keyward/server.conf", include_str!("../../examples/apache/keyward/server.conf")),
        file("keyward/clients.conf", include_str!("templates/apache/clients.conf")),
        file("keyward/host.conf", include_str!("templates/apache/host.conf")),
        file("keyward/protected.conf", include_str!("templates/apache/protected.conf")),
        file("keyward/pages.conf", include_str!("templates/apache/pages.conf")),
    ])
}

fn site_file(site: &Site) -> Result<String, SnippetError> {
    let fastcgi = match &site.fastcgi {
        Some(Door::Tcp(address)) => format!("fcgi://{address}/"),
        Some(Door::Unix(_)) => {
            return Err(SnippetError::at(
                "listen.fastcgi",
                "is a Unix socket, and Apache can only ask at a port; write ip:port",
            ));
        }
        None => return Err(SnippetError::at("listen.fastcgi", "is off, and Apache asks there; write ip:port")),
    };
    let auth = match &site.auth {
        Door::Tcp(address) => format!("http://{address}"),
        Door::Unix(path) => format!("unix:{path}|http://keyward"),
    };
    let public = site.public.to_string();
    let hosts: String = site.hosts.iter().map(|host| host_part(host, &public)).collect();
    let values = [("FASTCGI", fastcgi.as_str()), ("AUTH", &auth), ("PUBLIC", &public), ("HOSTS", &hosts)];
    Ok(fill(include_str!("templates/apache/site.conf"), &values))
}

/// One `<VirtualHost>`. Of several `<Location>`s that fit Apache goes by the last.
fn host_part(host: &Host, public: &str) -> String {
    let places: String = host.places.iter().rev().map(|place| place_part(place, &host.name)).collect();
    let secure = if is_secure(host) { include_str!("templates/apache/secure.part") } else { "" };
    let values = [("SECURE", secure), ("PLACES", &places), ("PUBLIC", public), ("NAME", &host.name)];
    fill(include_str!("templates/apache/host.part"), &values)
}

fn place_part(place: &Place, host: &str) -> String {
    let path = if place.path.is_empty() { "/" } else { &place.path };
    let credentials = include_str!("templates/apache/authorization.part");
    let authorization = if place.takes_authorization { credentials } else { "" };
    let (template, url) = match &place.upstream {
        Some(upstream) => (include_str!("templates/apache/place.part"), upstream.url()),
        None => (include_str!("templates/apache/bare.part"), String::new()),
    };
    fill(template, &[("AUTHORIZATION", authorization), ("PATH", path), ("URL", &url), ("HOST", host)])
}

fn is_secure(host: &Host) -> bool {
    host.places.iter().any(|place| place.upstream.as_ref().is_some_and(|upstream| upstream.secure))
}

/// What a variable of Keyward's answer holds, and the condition that it holds anything.
fn value_of(variable: &str) -> String {
    format!("\"expr=%{{reqenv:{variable}}}\" \"expr=-n reqenv('{variable}')\"")
}

/// A page as one word of a configuration file.
fn quoted(page: &str) -> String {
    page.trim_end().replace('\n', "").replace('"', "'")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{place, site};
    use super::*;

    fn site_conf(site: &Site) -> String {
        write(site).unwrap().remove(0).text
    }

    #[test]
    fn of_places_in_each_other_the_inner_one_counts() {
        let mut site = site();
        site.hosts[0].places =
            vec![place("/mail", "http", "127.0.0.1:8001", true), place("", "http", "[::1]:80", false)];
        let text = site_conf(&site);
        let (outer, inner) = (text.find("<Location \"/\">").unwrap(), text.find("<Location \"/mail\">").unwrap());
        assert!(outer < inner && inner < text.find("Include    keyward/pages.conf").unwrap(), "{text}");
        assert!(text.contains("ProxyPass        \"http://127.0.0.1:8001/mail\""), "{text}");
        assert!(text.contains("\"http://[::1]:80%{ENV:UPSTREAM_URI}\""), "{text}");
        assert_eq!(text.matches("CGIPassAuth On").count(), 1);
        assert!(text[inner..].contains("CGIPassAuth On"), "only where programs sign in");
        assert!(!text.contains("SSLProxyEngine"), "{text}");
    }

    #[test]
    fn an_application_by_https_is_asked_for_its_certificate() {
        let mut site = site();
        site.hosts[0].places = vec![place("", "https", "mail.example.test:443", false)];
        let files = write(&site).unwrap();
        assert!(files[0].text.contains("SSLProxyVerify            require"));
        assert!(files[1].text.contains("mod_ssl.so"));
    }

    #[test]
    fn what_apache_cannot_do_is_refused_with_its_key() {
        type Change = fn(&mut Site);
        let changes: [(Change, &str); 4] = [
            (|site| site.answer_limit = 8193, "limits.answer"),
            (|site| site.fastcgi = None, "listen.fastcgi"),
            (|site| site.fastcgi = Some(Door::Unix("/run/keyward.sock".to_owned())), "listen.fastcgi"),
            (|site| site.identity_headers[1] = "X-Remote-User".to_owned(), "headers"),
        ];
        for (change, key) in changes {
            let mut site = site();
            change(&mut site);
            assert_eq!(write(&site).unwrap_err().key, key);
        }
    }

    #[test]
    fn identity_headers_have_the_names_that_were_configured() {
        let mut site = site();
        site.identity_headers[0] = "X-Sso-User".to_owned();
        site.auth = Door::Unix("/run/keyward/auth.sock".to_owned());
        let files = write(&site).unwrap();
        let all: String = files.iter().map(|file| file.text.as_str()).collect();
        for line in [
            "RequestHeader unset X_Sso_User early",
            "RequestHeader set   X-Sso-User \"expr=%{reqenv:SSO_USER}\"",
            "UserExpr \"%{reqenv:SSO_USER}\"",
            "Define keyward_auth    \"unix:/run/keyward/auth.sock|http://keyward\"",
        ] {
            assert!(all.contains(line), "{line}");
        }
        assert!(!all.contains("set   Remote-User") && !all.contains("reqenv:REMOTE_USER"), "nobody sets the usual one");
    }
}
