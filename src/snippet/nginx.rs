//! nginx: the question by `auth_request`, over HTTP, or over FastCGI. The second has no files of its own but those
//! that differ.

use std::fmt::Write;

use super::{File, Host, Place, Site, SnippetError, Upstream, fill, fill_made};

mod files;

use files::{APPLICATIONS, ASK_FASTCGI, Application, FIXED, OVER_FASTCGI, OVER_HTTP, SERVER, SITE, TEMPLATES};

/// Smallest header buffers in KiB. Portals' cookies need as much, however short Keyward's own answers are.
const SMALLEST_BUFFER: usize = 16;
/// Names of upstreams that are taken.
const TAKEN: [&str; 3] = ["keyward", "keyward_fastcgi", "portal"];

/// `site.conf`, and the whole folder `keyward/`.
pub(super) fn write(site: &Site) -> Result<Vec<File>, SnippetError> {
    let mut files = vec![File { path: "site.conf", text: site_conf(site, "")? }];
    files.extend(TEMPLATES.map(|(path, template)| File { path, text: filled(site, path, template) }));
    files.extend(FIXED.map(|(path, text)| File { path, text: text.to_owned() }));
    files.extend(APPLICATIONS.map(|application| File { path: application.path, text: application.file.to_owned() }));
    Ok(files)
}

/// What takes the place of three files of [`write`], for the question over FastCGI.
pub(super) fn write_fastcgi(site: &Site) -> Result<Vec<File>, SnippetError> {
    let Some(fastcgi) = &site.fastcgi else {
        let message = "is off, and nginx asks there; write ip:port or unix:/path, or take the snippet for nginx";
        return Err(SnippetError::at("listen.fastcgi", message));
    };
    let upstream = format!("upstream keyward_fastcgi {{ server {fastcgi}; }}\n");
    Ok(vec![
        File { path: "site.conf", text: site_conf(site, &upstream)? },
        File { path: "keyward/server.inc", text: SERVER.replacen(OVER_HTTP, OVER_FASTCGI, 1) },
        File { path: "keyward/ask-fastcgi.inc", text: filled(site, "keyward/ask-fastcgi.inc", ASK_FASTCGI) },
    ])
}

fn filled(site: &Site, path: &str, template: &str) -> String {
    let buffer = site.answer_limit.div_ceil(1024).max(SMALLEST_BUFFER);
    // Where headers are read they are variables, and where they are set they stand one below the other.
    let is_read = path == "keyward/answer.inc";
    let widest = site.identity_headers.iter().map(String::len).max().unwrap_or_default();
    let [user, name, email, groups] = site.identity_headers.each_ref().map(|header| match is_read {
        true => header.to_ascii_lowercase().replace('-', "_"),
        false => format!("{header:widest$}"),
    });
    fill(
        template,
        &[
            ("USER", &user),
            ("NAME", &name),
            ("EMAIL", &email),
            ("GROUPS", &groups),
            ("BUFFER", &buffer.to_string()),
            ("TWO_BUFFERS", &(2 * buffer).to_string()),
            ("WAIT", &site.patience().to_string()),
        ],
    )
}

fn site_conf(site: &Site, fastcgi: &str) -> Result<String, SnippetError> {
    let mut upstreams = String::new();
    for upstream in site.upstreams() {
        let key = format!("backend[{}]", upstream.name);
        if TAKEN.contains(&&*upstream.name) {
            let message = format!("is a name that the files of nginx have for something else: {}", TAKEN.join(", "));
            return Err(SnippetError::at(format!("{key}.name"), message));
        }
        if upstream.secure {
            let message = "is https, and the files of nginx speak http to applications; write the address of a \
                           listener without TLS";
            return Err(SnippetError::at(format!("{key}.url"), message));
        }
        let _ = writeln!(upstreams, "upstream {} {{ server {}; keepalive 16; }}", upstream.name, upstream.authority);
    }
    let servers = site.hosts.iter().map(|host| server(site, host)).collect::<Result<Vec<_>, _>>()?;
    let values = [
        ("AUTH", site.auth.to_string()),
        ("FASTCGI", fastcgi.to_owned()),
        ("PUBLIC", site.public.to_string()),
        ("SIGNED_OUT", site.signed_out.clone().unwrap_or_else(|| "\"\"".to_owned())),
        ("UPSTREAMS", upstreams),
        ("SERVERS", servers.join("\n")),
    ];
    Ok(fill_made(SITE, &values))
}

/// The `server { }` of a host.
fn server(site: &Site, host: &Host) -> Result<String, SnippetError> {
    let mut there: Vec<(&Upstream, &Application)> = Vec::new();
    for upstream in host.places.iter().filter_map(|place| place.upstream.as_ref()) {
        if !there.iter().any(|(known, _)| *known == upstream) {
            there.push((upstream, application(upstream)?));
        }
    }
    let body = match &there[..] {
        [] => {
            return Ok(format!(
                "# For {} the configuration names no [[backend]], so that its address is not known: write a server {{ }} \
                 of\n# your own, with keyward/server.inc and keyward/protected.inc.\n",
                host.name
            ));
        }
        [(upstream, application)] => alone(host, upstream, application),
        several => together(host, several)?,
    };
    let largest = there.iter().map(|(_, application)| application.body).max();
    Ok(format!(
        "server {{\n    listen      {};\n    server_name {};\n    access_log  {}.log keyward;\n    \
         client_max_body_size {}m;\n{body}}}\n",
        site.public,
        host.name,
        host.name,
        largest.unwrap_or_default()
    ))
}

fn application(upstream: &Upstream) -> Result<&'static Application, SnippetError> {
    let found = APPLICATIONS.iter().find(|application| application.kind == upstream.kind);
    found.ok_or_else(|| {
        SnippetError::at(format!("backend[{}].kind", upstream.name), "is a kind that there is no file of nginx for")
    })
}

/// A host with one application: its own file has everything.
fn alone(host: &Host, upstream: &Upstream, application: &Application) -> String {
    let mut text = String::new();
    for place in host.places.iter().filter(|place| place.takes_authorization) {
        // By the server and not by location: those are in the application's file.
        let set = "set $keyward_credentials $http_authorization;";
        text += &match &*place.path {
            "" => format!("    {set}\n"),
            path => format!("    if ($uri ~ \"{}\") {{ {set} }}\n", below(path)),
        };
    }
    text += &format!("    include     {};\n", application.path);
    let usual = application.file.split_once("set $keyward_upstream ").and_then(|(_, rest)| rest.split_once(';'));
    if usual.is_none_or(|(usual, _)| usual != upstream.name) {
        text += &format!("    set $keyward_upstream {};\n", upstream.name);
    }
    text
}

/// A host with several applications, each below paths of its own. What they are is set in the locations: the question
/// runs through the server's own lines again and would set it back.
fn together(host: &Host, there: &[(&Upstream, &Application)]) -> Result<String, SnippetError> {
    let mut text = "    include     keyward/server.inc;\n    proxy_hide_header Set-Cookie;\n".to_owned();
    for place in &host.places {
        let behind = host.behind(place);
        text += &match there.iter().find(|(upstream, _)| behind == Some(upstream)) {
            Some((upstream, application)) => location(host, place, upstream, application)?,
            None => format!("    location {} {{ return 404; }}\n", locator(place)),
        };
    }
    if !host.places.iter().any(|place| place.path.is_empty()) {
        text += "    location / { return 404; }\n";
    }
    Ok(text)
}

fn location(
    host: &Host,
    place: &Place,
    upstream: &Upstream,
    application: &Application,
) -> Result<String, SnippetError> {
    let Some(special) = application.beside_others else {
        let message = format!(
            "is {}, which wants a host of its own, and {} has other applications as well; give it another host",
            upstream.kind, host.name
        );
        return Err(SnippetError::at(format!("backend[{}].kind", upstream.name), message));
    };
    let credentials = match place.takes_authorization {
        true => "        set $keyward_credentials $http_authorization;\n",
        false => "",
    };
    Ok(format!(
        "    location {} {{\n        set $keyward_upstream {};\n{credentials}{special}        include \
         keyward/protected.inc;\n    }}\n",
        locator(place),
        upstream.name
    ))
}

/// How nginx finds a place. Regular expressions are tried in their order, and the longest path comes first.
fn locator(place: &Place) -> String {
    if place.path.is_empty() { "/".to_owned() } else { format!("~ \"{}\"", below(&place.path)) }
}

/// A path and all below it, as a regular expression.
fn below(path: &str) -> String {
    format!("^{}(?:/|$)", path.replace('.', "\\."))
}

#[cfg(test)]
mod tests {
    use super::super::Door;
    use super::super::samples;
    use super::*;

    #[test]
    fn over_fastcgi_only_the_question_differs() {
        assert_eq!(SERVER.matches(OVER_HTTP).count(), 1);
        let mut site = samples::site();
        site.fastcgi = Some(Door::Unix("/run/keyward/fastcgi.sock".to_owned()));
        let files = write_fastcgi(&site).unwrap();
        assert!(files[0].text.contains("upstream keyward_fastcgi { server unix:/run/keyward/fastcgi.sock; }"));
        let server = files.iter().find(|file| file.path == "keyward/server.inc").unwrap();
        assert!(server.text.contains("ask-fastcgi.inc") && server.text.contains("http://keyward/authz/renew"));
        site.fastcgi = None;
        assert_eq!(write_fastcgi(&site).unwrap_err().key, "listen.fastcgi");
    }
}
