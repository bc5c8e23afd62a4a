//! The very files of `examples/ldap/`, with the addresses of the servers that run here in place of its own.

use std::net::SocketAddr;
use std::path::Path;

use keyward::demo::Person;
use keyward::demo::nginx::{Nginx, SHIPPED};
use keyward::demo::process::{Address, Workspace, free_address};
use keyward::demo::roundcube::{Roundcube, RoundcubeOptions};
use keyward::domain::Secret;

use crate::WEBMAIL;
use crate::chromium::{Chromium, Names};
use crate::fakes::server::{Reply, Server};
use crate::real::slapd::Slapd;
use crate::support::{Ask, Door, Setup, until};
use crate::town::{certificate, look_in};

const KEYWARD: &str = include_str!("../../examples/ldap/keyward.toml");
const SITE: &str = include_str!("../../examples/ldap/site.conf");
const SLAPD: &str = include_str!("../../examples/keycloak-openldap/slapd.conf");
const ENTRIES: [&str; 2] =
    [include_str!("../../examples/keycloak-openldap/directory.ldif"), include_str!("../../examples/ldap/keyward.ldif")];
const CALENDARS: &str = "calendars.example.test";

/// Puts addresses in place of others, each of which must be there.
fn with(text: &str, addresses: &[(&str, &str)]) -> String {
    addresses.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "the example has no {old} any more");
        text.replace(old, new)
    })
}

async fn directory(at: &Path) -> Slapd {
    let configuration = |home: &Path| {
        let home = home.to_string_lossy();
        let data = format!("{home}/data");
        with(SLAPD, &[("/run/slapd", &home), ("/etc/ldap/tls", &home), ("/var/lib/ldap", &data)])
    };
    let slapd = Slapd::configured(at, None, "change me: the password of cn=admin", configuration).await.unwrap();
    for entries in ENTRIES {
        slapd.load(entries).await.unwrap();
    }
    slapd
}

/// What a program is told that signs in with each request.
async fn asks(web_server: SocketAddr, user: &str, password: &str) -> (u16, String) {
    // Where somebody has chosen one before, it is the same.
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
    let client = client.resolve(CALENDARS, web_server).build().unwrap();
    let url = format!("https://{CALENDARS}:{}/today", web_server.port());
    let request = client.get(url).header("Host", CALENDARS).basic_auth(user, Some(password));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_example_without_a_portal_works_as_it_stands() {
    let files = Workspace::temporary().unwrap();
    let slapd = directory(files.directory("slapd").unwrap().path()).await;
    let ana = Person {
        name: "ana".to_owned(),
        password: Secret::from("password of ana"),
        subject: "Welcome, dear Ana".to_owned(),
    };
    let home = files.directory("roundcube").unwrap();
    let roundcube = Roundcube::start(home.path(), &[ana], &RoundcubeOptions::default()).await.unwrap();
    look_in(roundcube.imap(), "ana", "password of ana").await;
    let calendars = Server::start(|request| async move {
        let user = request.header("remote-user").unwrap_or("nobody").to_owned();
        assert_eq!(request.header("authorization"), None, "the password is not for the application");
        Reply::new(200, format!("The calendar of {user}"))
    });
    let calendars = calendars.await.unwrap();
    let authority = format!("ca_file = \"{}\"", slapd.authority().display());
    let keyward = with(
        KEYWARD,
        &[
            ("ldaps://ldap.example.test", &slapd.tls_url()),
            ("# ca_file = \"/etc/keyward/directory-ca.pem\"", &authority),
            ("http://127.0.0.1:8001", &roundcube.url()),
            ("refresh_every = \"5m\"", "refresh_every = \"1s\""),
        ],
    );
    let keyward = Setup::new(&keyward).start().await;
    let Address::Tcp(asked) = &keyward.auth else { unreachable!("it listens on a port") };
    let [https, http, other_port] = [(); 3].map(|()| free_address().unwrap());
    let names = Names { https, http, other_port };
    let [webmail, events] = [roundcube.url(), calendars.url()].map(|url| url.replace("http://", ""));
    let site = with(
        SITE,
        &[
            ("443 ssl", &format!("{https} ssl")),
            ("/etc/nginx/tls/", ""),
            ("127.0.0.1:8420", &asked.to_string()),
            ("127.0.0.1:8001", &webmail),
            ("127.0.0.1:8005", &events),
        ],
    );
    let tls = certificate();
    let own = [("site.conf", &*site), ("webmail.pem", &*tls), ("webmail.key", &*tls)];
    let all: Vec<(&str, &str)> = SHIPPED.iter().copied().chain(own).collect();
    let _nginx = Nginx::start(files.directory("nginx").unwrap().path(), &all, https).await.unwrap();

    let mut chromium = Chromium::start(&names, false).await;
    let mut browser = chromium.person().await;
    for (user, then) in [("ana@example.test", "Welcome, dear Ana"), ("max", "403")] {
        browser.open(WEBMAIL).await;
        browser.sees("User name").await;
        browser.fills("name", user).await;
        let password = format!("password of {}", user.trim_end_matches("@example.test"));
        browser.fills("password", &password).await;
        browser.press("Sign in").await;
        if then == "403" {
            browser.sees("role").await;
        } else {
            browser.sees(then).await;
            browser.open(&format!("{WEBMAIL}/?_task=logout")).await;
            browser.sees("You are signed out").await;
        }
    }

    assert_eq!(asks(https, "ana", "password of ana").await, (200, "The calendar of ana".to_owned()));
    assert_eq!(asks(https, "ana", "password of max").await.0, 401);
    assert_eq!(asks(https, "max", "password of max").await.0, 403);
    assert_eq!(calendars.requests().len(), 1);

    let mut eva = chromium.person().await;
    eva.open(&format!("https://{CALENDARS}/")).await;
    eva.sees("User name").await;
    eva.fills("name", "eva").await;
    eva.fills("password", "password of eva").await;
    eva.press("Sign in").await;
    eva.sees("The calendar of eva").await;
    let lock = "dn: uid=eva,ou=people,dc=example,dc=test\nchangetype: modify\nadd: pwdAccountLockedTime\n\
                pwdAccountLockedTime: 000001010000Z\n";
    slapd.modify(lock).await.unwrap();
    let cookie = eva.cookie(CALENDARS, "__Host-keyward-staff").await.unwrap();
    let cookie = format!("__Host-keyward-staff={}", cookie["value"].as_str().unwrap());
    let look = Ask::page(format!("https://{CALENDARS}/")).cookie(&cookie);
    // Whoever is away is not asked about.
    until("the end of her session", || async { keyward.ask(Door::AuthRequest, &look).await.status == 401 }).await;
    assert!(keyward.log().contains("the directory does not have somebody any more"), "{}", keyward.log());
    eva.reload().await;
    eva.sees("User name").await;
}
