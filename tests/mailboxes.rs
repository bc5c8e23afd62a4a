//! The main job from end to end and at size: tickets, a real nginx with the shipped example, the real
//! program, and behind it a real Roundcube on a real Dovecot, or Axigen's stand-in. Everybody sees
//! their own mailbox.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fakes;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use fakes::axigen::{Axigen, Person as Customer};
use futures_util::StreamExt;
use futures_util::stream::iter;
use keyward::demo::Person;
use keyward::demo::nginx::Nginx;
use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, free_address, free_port};
use keyward::demo::roundcube::{Roundcube, RoundcubeOptions};
use keyward::domain::{Clock, Secret, SystemClock};
use keyward::portal::ticket::{NewTicket, TicketKey};
use reqwest::{Client, Response};

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
        let _ = rustls::crypto::ring::default_provider().install_default();
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
        application.trim_start_matches("http://")
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

fn customer(person: &Person) -> Customer {
    use keyward::domain::ExposeSecret;
    Customer::new(&person.name, person.password.expose_secret(), &person.name.replace("person", "Person "))
}
