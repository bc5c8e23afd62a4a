//! A site of Websydian Express behind the whole program: decisions on one listener, the service that the
//! site's function asks on another.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock};

use fakes::server::{Reply, Request, Server};
use fakes::websydian::{Asks, COOKIE, Key, SITE, Slip, Spelling, Websydian};
use keyward::demo::process::{Address, Process, Workspace, find_program};
use support::{APP_PORTAL, Ask, Door, Setup, Sidecar, Ticket, until};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const PATH: &str = "/sso/websydian/authorize";
const SHOP: &str = "https://shop.example.test/express/site/shop";

/// The site's function, with a SOAP library that knows the service by its description alone.
const SOAP_CLIENT: &str = "
import sys, lxml.etree, requests, zeep
wsdl, key, login, password = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.headers['X-Service-Key'] = key
client = zeep.Client(wsdl, transport=zeep.transports.Transport(session=session))
for attempt in range(2):
    answer = client.service.AuthorizeSession(Login=login, Password=password)
    print(answer.Valid, answer.RoleCount, *answer.Role)
header = lxml.etree.Element('{urn:x}x')
header.set('{http://schemas.xmlsoap.org/soap/envelope/}mustUnderstand', '1')
try:
    client.service.AuthorizeSession(Login=login, Password=password, _soapheaders=[header])
except zeep.exceptions.Fault as fault:
    print(fault.code, fault.message)
";

struct House {
    express: Websydian,
    keyward: Sidecar,
}

impl House {
    async fn start(spelling: Spelling, more: &str) -> Self {
        let express = Websydian::start(Asks::Nobody).await.unwrap();
        let keyward = Setup::new(&config(&express.url(), more)).with_api().start().await;
        let key = Key::Header("x-service-key".to_owned(), KEY.to_owned());
        express.ask(Asks::Service { spelling, address: keyward.api, path: PATH.to_owned(), key });
        Self { express, keyward }
    }

    async fn ask(&self, cookies: &str) -> support::Answer {
        self.keyward.ask(Door::AuthRequest, &Ask::get(SHOP).cookie(cookies)).await
    }
}

fn config(express: &str, more: &str) -> String {
    let support::PortalKey { name, cookie, id, secret } = APP_PORTAL;
    format!(
        "[[portal]]\nname = \"{name}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
         login_url = \"https://portal.example.test/?next={{url}}\"\n\
         [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n\
         [[backend]]\nname = \"shop\"\nkind = \"websydian\"\nurl = \"{express}\"\ncredentials = \"none\"\n\
         site = \"{SITE}\"\nsigned_in_texts = [\"Signed in as\"]\nservice_key = \"{KEY}\"\n\
         role_order = [\"BOARD\"]\n{more}\n\
         [backend.roles]\nstaff = \"STAFF\"\nboard-member = \"BOARD\"\n\
         [[route]]\nhost = \"shop.example.test\"\nportal = \"{name}\"\nbackend = \"shop\"\n"
    )
}

fn ana() -> String {
    Ticket::of("ana").sid("the-session-of-ana").roles(&["staff", "unmapped", "board-member"]).cookie()
}

#[tokio::test]
async fn a_person_is_signed_in_with_mapped_roles_and_the_browsers_own_cookie_never_goes_upstream() {
    for spelling in [Spelling::Soap, Spelling::Xml, Spelling::Json] {
        let house = House::start(spelling, "").await;
        let planted = format!("theme=dark; {COOKIE}=1.bad; {}; wsyid1%2Fexpress=x", ana());
        let answer = house.ask(&planted).await;
        let cookie = answer.assert_allows("ana").one("X-Upstream-Cookie");
        let ours = cookie.strip_prefix("theme=dark; ").unwrap();
        assert!(ours.starts_with(&format!("{COOKIE}=1.")) && !ours.contains(';') && !ours.ends_with("bad"), "{cookie}");
        assert_eq!(answer.one("X-Upstream-Uri"), SITE);
        assert_eq!(house.express.roles("ana"), ["BOARD", "STAFF"]);
        assert_eq!(house.ask(&ana()).await.assert_allows("ana").one("X-Upstream-Cookie"), ours);
        assert_eq!(house.express.sessions(), (1, 0), "one login");
    }
}

#[tokio::test]
async fn who_is_refused_and_who_could_not_be_asked_are_told_apart() {
    let house = House::start(Spelling::Soap, "").await;
    house.express.know_only(&["ben"]);
    assert_eq!(house.ask(&ana()).await.reason(), "credentials_refused");
    house.ask(&Ticket::of("ben").cookie()).await.assert_allows("ben");
    house.express.slip(Some(Slip::Capitals));
    assert_eq!(house.ask(&Ticket::of("carla").cookie()).await.reason(), "backend_unavailable");
    let log = house.keyward.log();
    assert!(log.contains("a ticket was shown for another login than its own"), "{log}");
    let sent = house.express.requests();
    let tickets: Vec<String> = sent.iter().filter_map(|request| Some(request.query().get(1)?.1.clone())).collect();
    assert_eq!(tickets.len(), 3);
    for ticket in &tickets {
        assert!(!log.contains(ticket) && !log.contains(KEY), "{log}");
    }
    assert!(!house.keyward.metrics().await.contains(&tickets[0]));
}

#[tokio::test]
async fn a_sign_out_without_a_way_to_tell_the_site_is_over_here_and_counted_as_such() {
    let house = House::start(Spelling::Json, "").await;
    house.ask(&ana()).await.assert_allows("ana");
    let cookie = format!("Cookie: {}", ana());
    assert_eq!(house.keyward.get("/.keyward/logout", &[&cookie]).await.status, 200);
    assert_eq!(house.ask(&ana()).await.reason(), "revoked");
    let left = "keyward_logouts_total{backend=\"shop\",cause=\"logout\",outcome=\"left\"}";
    until("the count", || async { house.keyward.metric(left).await == 1.0 }).await;
    assert_eq!(house.express.sessions(), (1, 0));
}

#[tokio::test]
async fn the_service_is_for_servers_only_and_describes_itself() {
    let house = House::start(Spelling::Soap, "").await;
    let question = "{\"login\":\"ana\",\"password\":\"00112233445566778899aabbccddeeff\"}";
    let post = |key: &str| {
        let length = question.len();
        format!("POST {PATH} HTTP/1.1\r\nHost: keyward:8423\r\n{key}Content-Length: {length}\r\n\r\n{question}")
    };
    let key = format!("X-Service-Key: {KEY}\r\n");
    let refused = house.keyward.call(post(&key)).await;
    assert_eq!((refused.status, refused.text().as_str()), (200, "{\"roles\":[],\"valid\":false}"));
    assert_eq!(refused.one("Cache-Control"), "no-store");
    assert_eq!(house.keyward.call(post("")).await.status, 401);
    assert_eq!(house.keyward.call(post(&format!("{key}{key}"))).await.status, 401, "twice is not once");
    let huge = format!("POST {PATH} HTTP/1.1\r\nHost: k\r\n{key}Content-Length: 70000\r\n\r\n{}", "x".repeat(70_000));
    assert_eq!(house.keyward.call(huge).await.status, 413);
    let described = house.keyward.call(format!("GET {PATH}?wsdl HTTP/1.1\r\nHost: keyward:8423\r\n\r\n")).await;
    assert_eq!((described.status, described.one("Content-Type").as_str()), (200, "text/xml; charset=utf-8"));
    assert!(described.text().contains(&format!("location=\"http://keyward:8423{PATH}\"")), "{}", described.text());
    assert_eq!(house.keyward.exchange(post(&key)).await.status, 404, "not where browsers are");
}

#[tokio::test]
async fn a_soap_library_needs_the_description_only() {
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let service: Arc<OnceLock<String>> = Arc::default();
    let (heard, wsdl) = (Arc::clone(&said), Arc::clone(&service));
    let express = Server::start(move |request: Request| {
        let (heard, wsdl) = (Arc::clone(&heard), Arc::clone(&wsdl));
        async move {
            if request.header("cookie").is_some() {
                return Reply::html(200, "Signed in as ana");
            }
            let fields = request.query();
            let mut client = tokio::process::Command::new("/usr/bin/python3");
            client.args(["-c", SOAP_CLIENT, wsdl.get().unwrap(), KEY, &fields[0].1, &fields[1].1]);
            let output = client.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            heard.lock().unwrap().extend(text.lines().map(str::to_owned));
            Reply::html(200, "").with("Set-Cookie", &format!("{COOKIE}=1; Path=/"))
        }
    });
    let express = express.await.unwrap();
    let keyward = Setup::new(&config(&express.url(), "login_timeout = \"1m\"")).with_api().start().await;
    service.set(format!("http://{}{PATH}?wsdl", keyward.api)).unwrap();
    let cookie = ana();
    until("the sign-in", || async {
        keyward.ask(Door::AuthRequest, &Ask::get(SHOP).cookie(&cookie)).await.status == 200
    })
    .await;
    assert_eq!(
        *said.lock().unwrap(),
        ["Y 2 BOARD STAFF", "N 0", "soap:MustUnderstand a header that must be understood is not"]
    );
}

#[tokio::test]
async fn the_sites_function_may_ask_another_replica_than_the_one_that_signs_in() {
    let home = Workspace::temporary().unwrap();
    let socket = home.path().join("redis.sock");
    let settings = format!("port 0\nsave \"\"\ndir {}\nunixsocket {}\n", home.path().display(), socket.display());
    home.write("redis.conf", &settings).unwrap();
    let program = find_program("redis-server").expect("redis-server is installed");
    let mut server = Process::start("redis-server", &program, &["redis.conf"], &home).unwrap();
    server.ready(&Address::Unix(socket.clone())).await.unwrap();
    let store = format!(
        "[store]\nkind = \"redis\"\naddresses = [\"unix:{}\"]\nnames_secret = \"{KEY}\"\n\
         [[store.key]]\nid = \"a\"\nsecret = \"{KEY}\"\n",
        socket.display()
    );
    let express = Websydian::start(Asks::Nobody).await.unwrap();
    let text = store + &config(&express.url(), "");
    let [one, other] = [Setup::new(&text).with_api().start().await, Setup::new(&text).with_api().start().await];
    for replica in [&one, &other] {
        until("a replica that is ready", || async { replica.operator("/readyz").await.status == 200 }).await;
    }
    let key = Key::Header("x-service-key".to_owned(), KEY.to_owned());
    express.ask(Asks::Service { spelling: Spelling::Soap, address: other.api, path: PATH.to_owned(), key });
    let ask = Ask::get(SHOP).cookie(ana());
    let ours = one.ask(Door::AuthRequest, &ask).await.assert_allows("ana").one("X-Upstream-Cookie");
    assert_eq!(express.roles("ana"), ["BOARD", "STAFF"]);
    assert_eq!(other.ask(Door::AuthRequest, &ask).await.assert_allows("ana").one("X-Upstream-Cookie"), ours);
    assert_eq!(express.sessions(), (1, 0), "one login");

    let question = format!("{{\"login\":\"ana\",\"password\":\"s{}\"}}", &KEY[1..]);
    let post = format!(
        "POST {PATH} HTTP/1.1\r\nHost: k\r\nX-Service-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{question}",
        question.len()
    );
    let told = other.call(&post).await;
    assert_eq!((told.status, told.text().as_str()), (200, "{\"roles\":[],\"valid\":false}"));
    drop(server);
    let told = other.call(&post).await;
    assert_eq!((told.status, told.one("Retry-After").as_str()), (503, "5"), "that is no no");
    one.ask(Door::AuthRequest, &ask).await.assert_allows("ana");
}
