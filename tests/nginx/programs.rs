//! Programs that sign in with each request, through all of it: nginx with the shipped files, Keyward as a process
//! of its own, a real directory or an OpenID provider, and an application that tells what reached it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use keyward::demo::nginx::Nginx;
use keyward::demo::process::free_address;
use serde_json::json;

use super::house::{MAIL, site};
use super::servers::{Message, Scripted, answer};
use crate::fakes::axigen::{Axigen, Person};
use crate::fakes::openid_provider::{CLIENT, OpenIdProvider, SECRET};
use crate::fakes::server::Fault;
use crate::real::slapd::{self, MOST_FAILURES, Options, Slapd};
use crate::support::{Address, Answer, Connection, Setup, Sidecar};

/// Calendars, where programs sign in, beside the webmail, where they do not.
const DAV: &str = "location /dav/ { set $keyward_credentials $http_authorization; include keyward/protected.inc; }";
/// What a client says of itself and is nobody's word for it.
const LIES: [&str; 4] = ["Remote-User: bob", "Remote-Groups: admin", "X-Forwarded-For: 10.9.8.7", "Cookie: theme=dark"];
const REALM: &str = "Basic realm=\"staff\", charset=\"UTF-8\"";

/// Everything in front of the application, and the application.
struct Street {
    address: Address,
    keyward: Sidecar,
    application: Scripted,
    _nginx: Nginx,
    _directory: tempfile::TempDir,
}

impl Street {
    /// With these portals and back-ends, and what their routes have in common.
    async fn with(portals: &str, route: &str) -> Self {
        let route =
            |path: &str, more: &str| format!("[[route]]\nhost = \"{MAIL}\"\npath = \"{path}\"\n{route}\n{more}\n");
        let routes = [route("/dav", "authorization = true"), route("/", "")].concat();
        let keyward = Setup::new(&format!("{routes}{portals}")).environment("RUST_LOG", "trace").start().await;
        let Address::Tcp(decisions) = keyward.auth else { panic!("it listens on a port") };
        let application = Scripted::start(true, |_| answer(200, &[("Set-Cookie", "app=1")], "calendar"));
        let (address, directory) = (free_address().unwrap(), tempfile::tempdir().unwrap());
        let site = site(decisions, application.address, address, DAV);
        let nginx = Nginx::start_shipped(directory.path(), &site, address).await.unwrap();
        Self { address: Address::Tcp(address), keyward, application, _nginx: nginx, _directory: directory }
    }

    /// One request with these header lines.
    async fn ask(&self, start: &str, lines: &[&str]) -> Answer {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut connection = Connection::open(&self.address).await;
        connection.send(format!("{start} HTTP/1.1\r\nHost: {MAIL}\r\n{lines}Content-Length: 0\r\n\r\n")).await;
        connection.answer().await
    }

    /// A program asks with these credentials.
    async fn bring(&self, start: &str, credentials: &str) -> Answer {
        self.ask(start, &[&format!("Authorization: {credentials}")]).await
    }

    /// The same, refused: what is said of it, and that nothing came through.
    async fn refused(&self, start: &str, lines: &[&str]) -> (u16, String, Option<String>) {
        let answer = self.ask(start, lines).await;
        assert!(self.application.take().is_empty(), "nothing came through: {answer:?}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, body["reason"].as_str().unwrap().to_owned(), answer.maybe("WWW-Authenticate"))
    }
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// A street whose people are in a directory; bob is an administrator.
struct Town {
    street: Street,
    slapd: Slapd,
    office: Axigen,
    _directory: tempfile::TempDir,
}

const PEOPLE: [(&str, &str); 3] = [("alice", "wonderland"), ("bob", "the builder"), ("carol", "a christmas")];

impl Town {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ldif: String = PEOPLE.iter().map(|(name, password)| slapd::person(name, password)).collect();
        let ldif = ldif + &slapd::group("admin", &[slapd::person_dn("bob")]);
        let options = Options { ldif, policy: true, ..Options::default() };
        let slapd = Slapd::start(&directory.path().join("slapd"), options).await.unwrap();
        let office = Axigen::start(PEOPLE.map(|(name, password)| Person::new(name, password, name)).to_vec());
        let office = office.await.unwrap();
        let (url, base, reader, password) = (slapd.url(), slapd::BASE, slapd::READER, slapd::READER_PASSWORD);
        let portals = format!(
            "[[portal]]\nname = \"staff\"\nkind = \"ldap\"\ncookie = \"staff\"\nservers = [\"{url}\"]\n\
             base = \"ou=people,{base}\"\nbind_dn = \"{reader}\"\nbind_password = \"{password}\"\n\
             filter = \"(uid={{login}})\"\ngroup_base = \"ou=groups,{base}\"\n\
             [[backend]]\nname = \"office\"\nkind = \"axigen\"\nurl = \"{}\"\ncredentials = \"portal\"\n",
            office.url()
        );
        let street = Street::with(&portals, "portal = \"staff\"\nbackend = \"office\"").await;
        Self { street, slapd, office, _directory: directory }
    }

    /// How often the directory was asked whether a password is somebody's.
    fn binds(&self, name: &str) -> usize {
        let bind = format!("BIND dn=\"{}\" method=128", slapd::person_dn(name));
        self.slapd.log().lines().filter(|line| line.contains(&bind)).count()
    }
}

/// What reached the application is this person's and nothing of the client's.
fn assert_carries(seen: &Message, user: &str, groups: Option<&str>) {
    assert_eq!((seen.header("Remote-User"), seen.header("Remote-Groups")), (Some(user), groups), "{seen:?}");
    assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
}

#[tokio::test]
async fn a_password_opens_the_calendar_and_the_application_sees_who_it_is_and_no_password() {
    let town = Town::start().await;
    for (name, password) in PEOPLE {
        let line = format!("Authorization: {}", basic(name, password));
        for start in ["PROPFIND /dav/home/", "GET /dav/home/a.ics?x=1"] {
            let lies = if name == "bob" { &LIES[2..] } else { &LIES[..] };
            let lines: Vec<&str> = lies.iter().copied().chain([&*line]).collect();
            let answered = town.street.ask(start, &lines).await;
            assert_eq!((answered.status, answered.text().as_str()), (200, "calendar"), "{answered:?}");
            assert_eq!(answered.all("WWW-Authenticate").len(), 0);
            let seen = town.street.application.only();
            assert!(seen.asked().starts_with(start), "{seen:?}");
            assert_carries(&seen, name, (name == "bob").then_some("admin"));
            assert_eq!(seen.header("Authorization"), None, "{seen:?}");
            let cookie = seen.header("Cookie").unwrap();
            assert!(cookie.starts_with("theme=dark; _hmail="), "{cookie}");
            assert!(!format!("{seen:?}").contains(&STANDARD.encode(format!("{name}:{password}"))));
        }
        assert_eq!((town.binds(name), town.office.logins(name)), (1, 1), "{name}");
    }
}

#[tokio::test]
async fn who_is_nobody_is_asked_for_a_password_where_it_would_count_and_by_no_script() {
    let town = Town::start().await;
    let bad = |reason: &str, challenge: bool| (401, reason.to_owned(), challenge.then(|| REALM.to_owned()));
    let wrong = format!("Authorization: {}", basic("alice", "looking glass"));
    let unknown = format!("Authorization: {}", basic("mallory", "wonderland"));
    let none = town.street.refused("PROPFIND /dav/", &[]).await;
    assert_eq!((none.0, none.2.as_deref()), (401, Some(REALM)));
    let told = town.street.refused("PROPFIND /dav/", &[&wrong]).await;
    assert_eq!((told.0, told.2.as_deref()), (401, Some(REALM)));
    assert_eq!(town.street.refused("PROPFIND /dav/", &[&unknown]).await, told, "nobody learns who there is");
    let script = ["Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"];
    assert_eq!(town.street.refused("GET /dav/", &script).await, bad(&none.1, false));
    assert_eq!(town.street.refused("GET /dav/", &["X-Requested-With: XMLHttpRequest", &wrong]).await.2, None);
    // Elsewhere a password counts for nothing, however right it is.
    let right = format!("Authorization: {}", basic("alice", "wonderland"));
    assert_eq!(town.street.refused("PROPFIND /inbox", &[&right]).await, bad("no_session", false));
    let page = town.street.ask("GET /dav/", &["Sec-Fetch-Mode: navigate", "Accept: text/html"]).await;
    assert_eq!((page.status, page.maybe("WWW-Authenticate")), (302, None));
    assert_eq!((town.binds("alice"), town.office.logins("alice")), (1, 0));
}

#[tokio::test]
async fn whoever_the_directory_has_locked_out_is_told_what_everybody_is_told() {
    let town = Town::start().await;
    for _ in 0..MOST_FAILURES {
        assert!(!town.slapd.has_password(&slapd::person_dn("carol"), "humbug").await);
    }
    let right = format!("Authorization: {}", basic("carol", "a christmas"));
    let unknown = format!("Authorization: {}", basic("mallory", "x"));
    let told = town.street.refused("PROPFIND /dav/", &[&right]).await;
    assert_eq!((told.0, told.2.as_deref()), (401, Some(REALM)));
    assert_eq!(town.street.refused("PROPFIND /dav/", &[&unknown]).await, told);
    assert_eq!(town.office.logins("carol"), 0);
}

#[tokio::test]
async fn a_directory_that_is_down_is_a_503_and_never_a_question_for_the_password() {
    let mut town = Town::start().await;
    let [alice, bob] = [PEOPLE[0], PEOPLE[1]].map(|(name, password)| basic(name, password));
    assert_eq!(town.street.bring("PROPFIND /dav/", &alice).await.status, 200);
    town.street.application.take();
    town.slapd.stop();
    assert_eq!(town.street.bring("PROPFIND /dav/", &alice).await.status, 200, "she is known");
    assert_carries(&town.street.application.only(), "alice", None);
    for start in ["PROPFIND /dav/", "GET /dav/a.ics"] {
        let answered = town.street.bring(start, &bob).await;
        assert_eq!((answered.status, answered.maybe("WWW-Authenticate")), (503, None), "{start}: {answered:?}");
        assert!(answered.one("Retry-After").parse::<u64>().unwrap() >= 1);
        assert!(answered.text().contains("portal_unavailable"), "{answered:?}");
    }
    assert!(town.street.application.take().is_empty(), "nothing came through");
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_one_bind_and_one_login() {
    let town = Town::start().await;
    let credentials = basic("alice", "wonderland");
    let asked = join_all((0..100).map(|_| town.street.bring("PROPFIND /dav/", &credentials)));
    assert!(asked.await.iter().all(|answered| answered.status == 200));
    let seen = town.street.application.take();
    assert_eq!(seen.len(), 100);
    seen.iter().for_each(|seen| assert_carries(seen, "alice", None));
    assert_eq!((town.binds("alice"), town.office.logins("alice")), (1, 1));
}

/// A street where programs bring access tokens.
async fn with_tokens() -> (Street, OpenIdProvider) {
    let provider = OpenIdProvider::start(&[]).await.unwrap();
    let portal = format!(
        "[[portal]]\nname = \"id\"\nkind = \"oidc\"\ncookie = \"id\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\n\
         client_secret = \"{SECRET}\"\ntimeout = \"5s\"\naudiences = [\"mail-api\"]\n",
        provider.issuer()
    );
    (Street::with(&portal, "portal = \"id\"").await, provider)
}

#[tokio::test]
async fn an_access_token_opens_the_calendar_and_does_not_reach_the_application() {
    let (street, provider) = with_tokens().await;
    provider.knows("ana", json!({ "realm_access": { "roles": ["reader"] } }));
    let token = provider.key().sign(&provider.access_claims("ana", "mail-api"));
    let line = format!("Authorization: Bearer {token}");
    for start in ["PROPFIND /dav/home/", "GET /dav/home/a.ics"] {
        let lines: Vec<&str> = LIES.iter().copied().chain([&*line, "Cookie: id=made-up"]).collect();
        let answered = street.ask(start, &lines).await;
        assert_eq!((answered.status, answered.text().as_str()), (200, "calendar"), "{answered:?}");
        let seen = street.application.only();
        assert_carries(&seen, "ana", Some("reader"));
        assert_eq!((seen.header("Authorization"), seen.header("Cookie")), (None, Some("theme=dark")), "{seen:?}");
        assert!(!format!("{seen:?}").contains(&token));
    }
    assert_eq!(provider.asked("/certs"), 1);
    assert!(!street.keyward.log().contains(&token));
}

#[tokio::test]
async fn a_token_that_is_none_is_a_401_and_one_that_nobody_can_judge_a_503() {
    let (street, provider) = with_tokens().await;
    let [good, other] = ["mail-api", "shop-api"].map(|audience| provider.access_claims("ana", audience));
    provider.misbehave(Some(Fault::CloseAtOnce));
    let line = format!("Authorization: Bearer {}", provider.key().sign(&good));
    assert_eq!(street.refused("PROPFIND /dav/", &[&line]).await, (503, "portal_unavailable".to_owned(), None));
    provider.misbehave(None);
    crate::support::until("the keys are there", || async {
        street.ask("PROPFIND /dav/", &[&line]).await.status == 200
    })
    .await;
    street.application.take();
    for token in [provider.key().sign(&other), "x.y.z".to_owned(), "x".repeat(3000)] {
        let line = format!("Authorization: Bearer {token}");
        let (status, _, challenge) = street.refused("PROPFIND /dav/", &[&line]).await;
        assert!(status == 401 && challenge.as_deref().is_some_and(|it| it.starts_with("Bearer")), "{challenge:?}");
        let script = street.refused("GET /dav/", &[&line, "Sec-Fetch-Mode: cors"]).await;
        assert_eq!((script.0, script.2), (401, None));
    }
    assert_eq!(street.refused("PROPFIND /inbox", &[&line]).await, (401, "no_session".to_owned(), None));
}
