//! The main job from end to end and at size: tickets, a real nginx with the shipped example, the real
//! program, and behind it a real Roundcube on a real Dovecot, or Axigen's stand-in. Everybody sees
//! their own mailbox.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod fakes;
mod real;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use fakes::axigen::{Axigen, Person as Customer};
use fakes::server::{Reply, Request, Server, forward};
use futures_util::StreamExt;
use futures_util::stream::iter;
use keyward::demo::Person;
use keyward::demo::nginx::Nginx;
use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, free_address, free_port};
use keyward::demo::roundcube::{Roundcube, RoundcubeOptions};
use keyward::domain::{Clock, Secret, SystemClock};
use keyward::portal::ticket::{NewTicket, TicketKey};
use real::sogo::{Options, Sogo};
use reqwest::{Client, Method, Response};

const PEOPLE: usize = 200;
/// Requests under way: about what the browsers of a lecture hall have.
const AT_ONCE: usize = 60;
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const HOST: &str = "webmail.example.test";

/// Everything between the browsers and the application. Fields end in order.
struct House {
    _nginx: Nginx,
    _keyward: Process,
    public: SocketAddr,
    ops: SocketAddr,
    client: Client,
    _files: TemporaryWorkspace,
}

impl House {
    /// `kind` is also the name of the file in `examples/nginx/keyward/`.
    async fn open(kind: &str, application: &str) -> Self {
        let files = Workspace::temporary().unwrap();
        let (auth, ops) = (free_address().unwrap(), free_address().unwrap());
        let public = free_port(Ipv4Addr::LOCALHOST.into()).unwrap();
        let ours = files.with_our_rights();
        let configuration = ours.write("keyward.toml", &keyward_toml(auth, ops, kind, application)).unwrap();
        let arguments = ["serve", "-c", configuration.to_str().unwrap()];
        let program = Path::new(env!("CARGO_BIN_EXE_keyward"));
        let mut keyward = Process::start("keyward", program, &arguments, &ours).unwrap();
        keyward.ready(&Address::Tcp(auth)).await.unwrap();
        let web = files.directory("nginx").unwrap();
        let nginx = Nginx::start_shipped(web.path(), &site(public, auth, kind, application), public).await.unwrap();
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .resolve(HOST, public)
            .build()
            .unwrap();
        Self { _nginx: nginx, _keyward: keyward, public, ops, client, _files: files }
    }

    async fn get(&self, path: &str, ticket: &str) -> Response {
        let url = format!("http://{HOST}:{}{path}", self.public.port());
        let request = self.client.get(url).header("Cookie", format!("theme=dark; portal_session={ticket}"));
        request.header("Accept", "text/html").header("Accept-Language", "en").send().await.unwrap()
    }

    /// As a browser that shows a page, or, with a token, as a script on it.
    async fn browse(&self, path: &str, ticket: &str, token: Option<&str>) -> Response {
        let url = format!("http://{HOST}:{}{path}", self.public.port());
        let cookies = format!("0xHIGHFLYxSOGo=evil; portal_session={ticket}; XSRF-TOKEN={}", token.unwrap_or_default());
        let request = self.client.get(url).header("Cookie", cookies);
        // To a browser that it does not know SOGo says just that.
        let request = request.header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0");
        let request = match token {
            Some(token) => request.header("X-XSRF-TOKEN", token).header("Sec-Fetch-Mode", "cors"),
            None => request.header("Sec-Fetch-Mode", "navigate").header("x-webobjects-remote-user", "person2"),
        };
        request.send().await.unwrap()
    }

    async fn metric(&self, series: &str) -> String {
        let text = self.client.get(format!("http://{}/metrics", self.ops)).send().await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_default().trim().to_owned()
    }
}

fn keyward_toml(auth: SocketAddr, ops: SocketAddr, kind: &str, application: &str) -> String {
    format!(
        r#"[listen]
auth = "{auth}"
ops = "{ops}"
[[portal]]
name = "portal"
kind = "ticket"
cookie = "portal_session"
login_url = "http://portal.example.test/login?next={{url}}"
key = [{{ id = "k", secret = "{SECRET}" }}]
{}
[[route]]
host = "{HOST}"
path = "/"
portal = "portal"
backend = "mail"
"#,
        backend(kind, application)
    )
}

/// The table of the back-end; a described one is that of the sample.
fn backend(kind: &str, application: &str) -> String {
    if kind != "form" {
        let name = "[[backend]]\nname = \"mail\"";
        return format!("{name}\nkind = \"{kind}\"\nurl = \"{application}\"\nlogin_timeout = \"60s\"");
    }
    let sample = include_str!("../examples/form/keyward.toml");
    let table = &sample[sample.find("[[backend]]").unwrap()..sample.find("[[route]]").unwrap()];
    let table = table.replace("http://127.0.0.1:8001", application);
    table.replace("name                = \"application\"", "name = \"mail\"")
}

fn site(public: SocketAddr, auth: SocketAddr, kind: &str, application: &str) -> String {
    let upstream = if kind == "form" { "application" } else { kind };
    format!(
        "include keyward/http.conf;
upstream keyward {{ server {auth}; keepalive 32; }}
upstream {upstream} {{ server {}; keepalive 16; }}
map $host $keyward_scheme {{ default $scheme; }}
map $host $keyward_host {{ default $host:$server_port; }}
map $host $keyward_signed_out {{ default \"\"; }}
server {{
    listen {public};
    server_name {HOST};
    include keyward/{kind}.inc;
}}
",
        application.trim_start_matches("http://").split('/').next().unwrap_or_default()
    )
}

fn person(number: usize) -> Person {
    Person {
        name: format!("person{number}"),
        password: Secret::from(format!("pass & \"{number}\" ü")),
        subject: format!("Only for person {number}!"),
    }
}

fn ticket(person: &Person) -> String {
    let key = TicketKey::new("k", &Secret::from(SECRET)).unwrap();
    let now = SystemClock::new().unix();
    let claims = NewTicket::new(format!("session-of-{:0>16}", person.name), person.name.as_str(), now, now + 3600);
    key.mint(&claims, Some(&person.password)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_people_at_once_each_see_the_one_subject_in_their_own_mailbox() {
    let people: Vec<Person> = (0..PEOPLE).map(person).collect();
    let files = Workspace::temporary().unwrap();
    let options = RoundcubeOptions { workers: 8, ..RoundcubeOptions::default() };
    let roundcube = Roundcube::start(files.path(), &people, &options).await.unwrap();
    let house = House::open("roundcube", &roundcube.url()).await;
    for round in ["the first request", "the second"] {
        // In an order in which neighbours in time are strangers in the list. One person's two requests
        // are not sent at once: Dovecot shows a mailbox that is opened twice for the very first time as
        // empty to one of the two.
        let visits = (0..PEOPLE).map(|visit| &people[visit * 7 % PEOPLE]);
        let lists = visits.map(|person| {
            let house = &house;
            async move {
                let answer = house.get("/?_task=mail&_action=list&_mbox=INBOX&_remote=1", &ticket(person)).await;
                assert_eq!(answer.status(), 200, "{}", person.name);
                assert!(answer.headers().get("set-cookie").is_none(), "the keys stay with Keyward");
                (person, answer.text().await.unwrap())
            }
        });
        let lists: Vec<(&Person, String)> = iter(lists).buffer_unordered(AT_ONCE).collect().await;
        assert_eq!(lists.len(), PEOPLE);
        for (person, list) in &lists {
            assert!(list.contains(&person.subject), "{round} of {}: {list}", person.name);
            assert_eq!(list.matches("Only for person").count(), 1, "{round} of {}: {list}", person.name);
        }
    }
    let opened = house.metric("keyward_backend_logins_total{backend=\"mail\",outcome=\"opened\"}").await;
    assert_eq!(opened, PEOPLE.to_string(), "one login each");

    // Everybody signs out, and nobody gets in any more.
    let outs = people.iter().map(|person| async {
        assert_eq!(house.get("/.keyward/logout", &ticket(person)).await.status(), 200);
        let after = house.get("/", &ticket(person)).await;
        assert_eq!(after.status(), 302);
        assert!(after.headers()["location"].to_str().unwrap().starts_with("http://portal.example.test/login?next="));
    });
    iter(outs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    assert_eq!(house.metric("keyward_keys{backend=\"mail\"}").await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_an_application_that_is_only_described_see_their_own_mailbox() {
    let people: Vec<Person> = (0..4).map(person).collect();
    let files = Workspace::temporary().unwrap();
    let roundcube = Roundcube::start(files.path(), &people, &RoundcubeOptions::default()).await.unwrap();
    let house = House::open("form", &roundcube.url()).await;
    let lists = people.iter().map(|person| async {
        let answer = house.get("/?_task=mail&_action=list&_mbox=INBOX&_remote=1", &ticket(person)).await;
        assert!(answer.headers().get("set-cookie").is_none(), "the keys stay with Keyward");
        let list = answer.text().await.unwrap();
        assert!(list.contains(&person.subject), "{}: {list}", person.name);
        assert_eq!(list.matches("Only for person").count(), 1, "{}: {list}", person.name);
    });
    futures_util::future::join_all(lists).await;
    assert_eq!(house.get("/.keyward/logout", &ticket(&people[0])).await.status(), 200);
    assert_eq!(house.get("/", &ticket(&people[0])).await.status(), 302);
    let wrong = Person { password: Secret::from("wrong"), ..person(9) };
    assert_eq!(house.get("/", &ticket(&wrong)).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_of_two_hundred_first_requests_of_one_person_makes_one_login() {
    let ana = person(1);
    let axigen = Axigen::start(vec![customer(&ana)]).await.unwrap();
    let house = House::open("axigen", &axigen.url()).await;
    let ticket = ticket(&ana);
    let pages = (0..200).map(|_| async { house.get("/", &ticket).await.text().await.unwrap() });
    let pages: Vec<String> = futures_util::future::join_all(pages).await;
    assert!(pages.iter().all(|page| page.contains("Mailbox of Person 1")), "{pages:?}");
    assert_eq!((axigen.logins(&ana.name), axigen.attempts(&ana.name)), (1, 1));
}

#[tokio::test]
async fn a_session_that_the_application_dropped_is_renewed_under_a_get_and_nobody_notices() {
    let ana = person(1);
    let axigen = Axigen::start(vec![customer(&ana)]).await.unwrap();
    let house = House::open("axigen", &axigen.url()).await;
    let ticket = ticket(&ana);
    let account = "/api/v1/account/info?fields=all&_h=the+browsers+own";
    assert!(house.get(account, &ticket).await.text().await.unwrap().contains(&ana.name));
    axigen.drop_sessions();
    let after = house.get(account, &ticket).await;
    assert_eq!(after.status(), 200);
    assert!(after.text().await.unwrap().contains(&ana.name));
    assert_eq!(axigen.logins(&ana.name), 2);
    // Once in an interval, so that an application that is broken for good is not stormed.
    axigen.drop_sessions();
    assert_eq!(house.get(account, &ticket).await.status(), 401);
    assert_eq!(axigen.logins(&ana.name), 2);
}

/// SOGo, and in front of it somebody who looks at what it is sent.
async fn watched_sogo(files: &Workspace, people: &[Person], options: Options) -> (Sogo, Server) {
    let sogo = Sogo::start(files.path(), people, options).await.unwrap();
    let address = sogo.address();
    let watched = Server::start(move |request| async move {
        forward(address, &request).await.unwrap_or_else(|_| Reply::new(502, ""))
    });
    (sogo, watched.await.unwrap())
}

fn script_cookies(answer: &Response) -> Vec<&str> {
    answer.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect()
}

/// The token that an answer gives to scripts, which is all that a browser is given.
fn token_in(answer: &Response) -> String {
    let [line] = script_cookies(answer)[..] else { panic!("{:?}", script_cookies(answer)) };
    let token = line.strip_prefix("XSRF-TOKEN=").unwrap().strip_suffix("; Path=/SOGo/; SameSite=Strict").unwrap();
    assert_eq!(token.len(), 40, "{line}");
    token.to_owned()
}

const SOGO_PAGE: &str = "/SOGo/so/person1/Mail/view";
const SOGO_DATE: &str = "/SOGo/so/person1/date";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sogo_opens_for_its_owner_and_its_scripts_get_what_they_need() {
    let people = [person(1), person(2)];
    let files = Workspace::temporary().unwrap();
    let credulous = Options { trusts_proxy: true, ..Options::default() };
    let (sogo, watched) = watched_sogo(&files, &people, credulous).await;
    let house = House::open("sogo", &format!("{}/SOGo", watched.url())).await;
    let [ana, ben] = people.each_ref().map(ticket);

    let mut path = "/".to_owned();
    let page = loop {
        let answer = house.browse(&path, &ana, None).await;
        let Some(place) = answer.headers().get("location") else { break answer };
        path = place.to_str().unwrap().trim_start_matches(&format!("http://{HOST}:{}", house.public.port())).to_owned();
        assert!(path.starts_with("/SOGo/"), "{path}");
    };
    assert_eq!((page.status().as_u16(), path.as_str()), (200, SOGO_PAGE));
    let token = token_in(&page);
    let page = page.text().await.unwrap();
    assert!(page.contains("var UserLogin = 'person1';"), "a header said that it was somebody else");
    for (attribute, ending, kind) in [("src=\"", ".js", "application/javascript"), ("href=\"", ".css", "text/css")] {
        let mut files = page.split(attribute).filter_map(|rest| rest.split(['"', '?']).next());
        let file = house.browse(files.find(|file| file.ends_with(ending)).unwrap(), "", None).await;
        assert_eq!((file.status().as_u16(), file.headers()["content-type"].to_str().unwrap()), (200, kind));
    }

    let other = house.browse("/SOGo/so/person2/Mail/view", &ben, None).await;
    let other_token = token_in(&other);
    assert!(other.text().await.unwrap().contains("var UserLogin = 'person2';"));
    assert_eq!(house.browse(SOGO_PAGE, &ben, None).await.status(), 403, "another's page");

    assert_eq!(house.browse(SOGO_DATE, &ana, Some(&token)).await.status(), 200);
    for wrong in [&other_token, ""] {
        assert_eq!(house.browse(SOGO_DATE, &ana, Some(wrong)).await.status(), 500, "a token of another session");
    }
    let folder = "/SOGo/so/person1/Mail/0/folderINBOX/view";
    let url = format!("http://{HOST}:{}{folder}", house.public.port());
    let list = house.client.post(url).header("Cookie", format!("portal_session={ana}")).header("X-XSRF-TOKEN", &token);
    // As a page, so that it is asked first who is known to SOGo, and then its body must still be there.
    let list = list.header("Sec-Fetch-Mode", "navigate").header("Content-Type", "application/json");
    let list = list.body(r#"{"sortingAttributes":{"sort":"arrival","asc":0}}"#).send().await.unwrap();
    let list = list.text().await.unwrap();
    assert!(list.contains("Only for person 1!"), "{list}");
    assert_eq!(house.metric("keyward_backend_logins_total{backend=\"mail\",outcome=\"opened\"}").await, "2");
    for request in watched.requests() {
        assert_eq!(request.header("x-webobjects-remote-user"), None, "{}", request.target);
        assert!(!request.header("cookie").unwrap_or_default().contains("evil"), "{}", request.target);
        let body = String::from_utf8_lossy(&request.body).into_owned();
        assert!(!request.target.ends_with("/folderINBOX/view") || body.contains("arrival"), "{body}");
    }
    drop(sogo);
    assert_eq!(house.browse(SOGO_PAGE, &ana, None).await.status(), 502, "what SOGo does not answer nobody makes up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_sogo_dropped_is_renewed_under_a_page_and_a_log_out_ends_it() {
    let ana = person(1);
    let files = Workspace::temporary().unwrap();
    let (sogo, watched) = watched_sogo(&files, std::slice::from_ref(&ana), Options::default()).await;
    let house = House::open("sogo", &format!("{}/SOGo", watched.url())).await;
    let ticket = ticket(&ana);
    let old = token_in(&house.browse(SOGO_PAGE, &ticket, None).await);
    end_session(&sogo, &watched).await;
    let page = house.browse(SOGO_PAGE, &ticket, None).await;
    let new = token_in(&page);
    assert_ne!(old, new);
    assert!(page.text().await.unwrap().contains("var UserLogin = 'person1';"));
    assert_eq!(house.browse(SOGO_DATE, &ticket, Some(&new)).await.status(), 200);
    // A page that is still open learns of the new token by the answer to the old one.
    let stale = house.browse(SOGO_DATE, &ticket, Some(&old)).await;
    assert_eq!((stale.status().as_u16(), token_in(&stale)), (500, new));

    // Once in an interval: then people see SOGo's own page, and no loop.
    end_session(&sogo, &watched).await;
    let page = house.browse(SOGO_PAGE, &ticket, None).await;
    assert_eq!((page.status().as_u16(), page.text().await.unwrap().contains("UserLogin = 'person1'")), (200, false));
    let opened = "keyward_backend_logins_total{backend=\"mail\",outcome=\"opened\"}";
    assert_eq!(house.metric(opened).await, "2");

    let out = house.browse("/SOGo/so/person1/logoff", &ticket, None).await;
    assert_eq!((out.status().as_u16(), &out.headers()["location"]), (302, &"/.keyward/logout".parse().unwrap()));
    assert_eq!(house.get("/.keyward/logout", &ticket).await.status(), 200);
    assert_eq!(house.browse(SOGO_PAGE, &ticket, None).await.status(), 302);
    assert!(watched.requests().iter().any(|request| request.target == "/SOGo/so/person1/logoff"));
}

/// Ends the session that was used last, as SOGo's administrator would.
async fn end_session(sogo: &Sogo, watched: &Server) {
    let requests = watched.requests();
    let last = requests.iter().rev().find_map(|request| request.header("cookie")).unwrap();
    let headers = vec![("cookie".to_owned(), last.as_bytes().to_vec())];
    let target = "/SOGo/so/person1/logoff".to_owned();
    let request = Request { method: "GET".to_owned(), target, headers, body: Vec::new() };
    let answer: Reply = forward(sogo.address(), &request).await.unwrap();
    assert_eq!(answer.status, 302);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calendar_programs_sign_in_to_sogo_by_themselves_and_get_nobodys_key() {
    let ana = person(1);
    let files = Workspace::temporary().unwrap();
    let (_sogo, watched) = watched_sogo(&files, std::slice::from_ref(&ana), Options::default()).await;
    let house = House::open("sogo", &format!("{}/SOGo", watched.url())).await;
    let ticket = ticket(&ana);
    let dav = |path: &str, ticket: &str, password: Option<&str>| {
        let url = format!("http://{HOST}:{}{path}", house.public.port());
        let request = house.client.request(Method::from_bytes(b"PROPFIND").unwrap(), url);
        let request = request.header("Cookie", format!("portal_session={ticket}")).header("Depth", "0");
        match password {
            Some(password) => request.basic_auth(&ana.name, Some(password)).send(),
            None => request.send(),
        }
    };
    assert_eq!(dav("/SOGo/dav/person1/", &ticket, None).await.unwrap().status(), 401);
    assert_eq!(dav("/SOGo/dav/person1/", &ticket, Some("wrong")).await.unwrap().status(), 401);
    let right = keyward::domain::ExposeSecret::expose_secret(&ana.password).to_owned();
    assert_eq!(dav("/SOGo/dav/person1/", &ticket, Some(&right)).await.unwrap().status(), 207);
    assert!(watched.requests().iter().all(|request| request.header("cookie").unwrap_or_default().is_empty()));
    let before = watched.requests().len();
    for path in ["/SOGo/dav/%2e%2e/so/person1/date", "/SOGo/dav//x", "/SOGo/dav/a%2fb", "/SOGo/dav/;a", "/SOGo/davx"] {
        let status = dav(path, "", Some(&right)).await.unwrap().status();
        assert!(status == 401 || status == 403, "{path}: {status}");
    }
    assert_eq!(watched.requests().len(), before, "nothing came around Keyward");
    assert_eq!(house.metric("keyward_backend_logins_total{backend=\"mail\",outcome=\"opened\"}").await, "0");
}

fn customer(person: &Person) -> Customer {
    use keyward::domain::ExposeSecret;
    Customer::new(&person.name, person.password.expose_secret(), &person.name.replace("person", "Person "))
}
