//! All there is around a browser: the real nginx with the shipped files, TLS included, the program, a
//! portal with the very snippets of `examples/handover/`, and the stand-in for the application.

use std::process::Command;

use keyward::demo::nginx::{Nginx, SHIPPED};
use keyward::demo::process::{Address, free_address};

use crate::chromium::Names;
use crate::fakes::axigen::Axigen;
use crate::fakes::server::{Reply, Request, Server};
use crate::support::{APP_PORTAL, PortalKey, Setup, Sidecar, Ticket, mailboxes};

pub struct Town {
    pub keyward: Sidecar,
    pub mail: Axigen,
    pub portal: Server,
    pub names: Names,
    _nginx: Nginx,
    _files: tempfile::TempDir,
}

/// The applications, which are all the same webmail, by the layout in which they are seen:
/// on the portal's host at another port, below its parent domain, and on other domains, where Keyward
/// stands before one and beside the other.
const BACKENDS: [(&str, &str); 4] = [
    ("port", "url = \"https://portal.example.test:8443\""),
    ("sub", "url = \"https://webmail.example.test\"\ncookie_domain = \"example.test\""),
    ("guarded", "origins = [\"https://portal.example.test\", \"http://portal.example.test\"]"),
    (
        "beside",
        "url = \"https://direct.other.test\"\norigins = [\"https://portal.example.test\"]\n\
         return_to = [\"https://portal.example.test/mail\"]",
    ),
];

impl Town {
    pub async fn start() -> Self {
        let mail = mailboxes().await;
        let portal = Server::start(|request| std::future::ready(portal_answer(&request))).await.unwrap();
        let keyward = Setup::new(&config(&mail.url())).start().await;
        let [https, http, other_port] = [(); 3].map(|()| free_address().unwrap());
        let names = Names { https, http, other_port };
        let files = tempfile::tempdir().unwrap();
        let site = site(&names, &keyward.auth, &mail.url(), &portal.url());
        let certificate = certificate();
        let all: Vec<(&str, &str)> =
            SHIPPED.iter().copied().chain([("site.conf", site.as_str()), ("tls.pem", &certificate)]).collect();
        let nginx = Nginx::start(files.path(), &all, https).await.unwrap();
        Self { keyward, mail, portal, names, _nginx: nginx, _files: files }
    }
}

fn config(mail: &str) -> String {
    let PortalKey { name, cookie, id, secret } = APP_PORTAL;
    let backend = |(backend, enter): (&str, &str)| {
        let (host, path) = match backend {
            "guarded" => ("webmail.other.test", "/".to_owned()),
            _ => ("portal.example.test", format!("/.keyward/enter/{backend}")),
        };
        format!(
            "[[backend]]\nname = \"{backend}\"\nkind = \"axigen\"\nurl = \"{mail}\"\n[backend.enter]\n{enter}\n\
             [[route]]\nhost = \"{host}\"\npath = \"{path}\"\nportal = \"{name}\"\nbackend = \"{backend}\"\n"
        )
    };
    format!(
        "[[portal]]\nname = \"{name}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
         login_url = \"https://portal.example.test/login?next={{url}}\"\n\
         [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n{}",
        BACKENDS.map(backend).concat()
    )
}

fn site(names: &Names, keyward: &Address, mail: &str, portal: &str) -> String {
    let Address::Tcp(keyward) = keyward else { unreachable!("it listens on a port") };
    let [mail, portal] = [mail, portal].map(|url| url.trim_start_matches("http://"));
    let Names { https, http, other_port } = names;
    let directly = "location / { proxy_pass http://axigen; include keyward/forward.inc; }";
    format!(
        "include keyward/http.conf;
        upstream keyward {{ server {keyward}; keepalive 8; }}
        upstream axigen {{ server {mail}; }}
        upstream portal {{ server {portal}; }}
        map $host $keyward_scheme {{ default $scheme; }}
        map $server_port $keyward_host {{ {other} $host:8443; default $host; }}
        map $host $keyward_signed_out {{ default \"\"; }}
        ssl_certificate tls.pem;
        ssl_certificate_key tls.pem;
        server {{ listen {https} ssl default_server; return 421; }}
        server {{ listen {https} ssl; listen {http}; server_name portal.example.test example.test evil.test;
                  include keyward/server.inc; include keyward/portal.inc; }}
        server {{ listen {https} ssl; listen {http}; server_name webmail.other.test; include keyward/axigen.inc; }}
        server {{ listen {https} ssl; server_name direct.other.test; include keyward/server.inc; {directly} }}
        server {{ listen {https} ssl; server_name webmail.example.test; {directly} }}
        server {{ listen {other_port} ssl; server_name portal.example.test; {directly} }}",
        other = other_port.port(),
    )
}

/// Key and certificate in one file, made by itself and for a day.
fn certificate() -> String {
    let arguments =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test -days 1 -keyout - -out -";
    let made = Command::new("openssl").args(arguments.split(' ')).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}

/// A portal: `/login` signs somebody in, every other page is its first.
fn portal_answer(request: &Request) -> Reply {
    let query = request.query();
    let field = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if request.path() != "/login" {
        return Reply::html(200, page(request));
    }
    let signed_in = request.cookies().contains_key(APP_PORTAL.cookie);
    let next = field("next").unwrap_or("/");
    match field("user") {
        Some(user) => {
            let cookie = Ticket::of(user).cookie();
            Reply::new(303, "")
                .with("Location", next)
                .with("Set-Cookie", &format!("{cookie}; Path=/; HttpOnly; SameSite=Lax"))
        }
        None if signed_in => Reply::new(303, "").with("Location", next),
        None => {
            let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
            Reply::html(
                200,
                format!("<p>Please sign in</p><a href=\"/login?user=alice&amp;next={next}\">I am Alice</a>"),
            )
        }
    }
}

fn page(request: &Request) -> String {
    let entries = BACKENDS.map(|(name, _)| {
        format!("<a href=\"/.keyward/enter/{name}\">open {name}</a> <button onclick=\"keywardEnter('{name}')\">ask for {name}</button>")
    });
    format!(
        "<!doctype html><title>Portal</title><p>The portal at {}</p>{}\
         <a href=\"/.keyward/enter/beside?return_to=https%3A%2F%2Fportal.example.test%2Fmail\">open beside and come back</a>\
         <script>{}</script>",
        request.path(),
        entries.concat(),
        include_str!("../../examples/handover/enter.js")
    )
}
