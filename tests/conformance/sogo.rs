//! SOGo: the real one, with a real database and mail server, behind a proxy that can misbehave.

use std::net::SocketAddr;

use keyward::demo::Person;
use keyward::demo::process::{TemporaryWorkspace, Workspace};
use keyward::domain::Secret;

use super::fakes::axigen::escaped;
use super::fakes::server::{Fault, Reply, Request, Server, forward};
use super::real::sogo::{Options, Sogo};
use super::{Application, Front, HOSTILE, pair};

/// Every person's mailbox has an address of its own. This one, made up, is that of whoever asks.
const PAGE: &str = "/SOGo/page-of-whoever-asks";
/// To a browser that it does not know SOGo says just that.
const BROWSER: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

struct BehindProxy {
    proxy: Server,
    _servers: Sogo,
    _workspace: TemporaryWorkspace,
}

impl Front for BehindProxy {
    fn url(&self) -> String {
        format!("{}/SOGo", self.proxy.url())
    }

    fn misbehave(&self, fault: Option<Fault>) {
        self.proxy.misbehave(fault);
    }

    fn requests(&self) -> Vec<Request> {
        self.proxy.requests()
    }
}

/// Characters that no name can have here: Dovecot's files cannot hold them (see [`Person::name`]), and a colon
/// ends a name in SOGo's sessions.
const NOT_IN_NAMES: [char; 5] = [':', '/', '"', '\'', '\\'];

pub async fn start() -> Application {
    let mut people = vec![pair("ana.dias", "correct horse"), pair("ben.okafor", "battery staple")];
    for (number, password) in HOSTILE.iter().enumerate() {
        let name = password.replace(NOT_IN_NAMES, "");
        people.push(pair(&format!("h{number} {name}@example.test"), password));
    }
    people.push(pair("long.password", &"ä".repeat(100)));
    let mailboxes: Vec<Person> = people
        .iter()
        .map(|(login, password)| Person {
            name: login.clone(),
            password: Secret::from(password.clone()),
            subject: "hello".to_owned(),
        })
        .collect();
    let workspace = Workspace::temporary().expect("a directory");
    let servers = Sogo::start(workspace.path(), &mailboxes, Options::default()).await;
    let servers = servers.expect("SOGo and MariaDB are installed; tests/run does it");
    let real = servers.address();
    let proxy = Server::start(move |request| async move { answer(real, request).await });
    let proxy = proxy.await.expect("loopback works");
    let left_out = vec![format!("names with one of {NOT_IN_NAMES:?}, which these servers cannot hold")];
    let front = Box::new(BehindProxy { proxy, _servers: servers, _workspace: workspace });
    Application { front, people, page: PAGE, left_out }
}

async fn answer(real: SocketAddr, mut request: Request) -> Reply {
    let get = async |request: &Request| forward(real, request).await.unwrap_or_else(|_| Reply::new(502, ""));
    if request.target != PAGE {
        return get(&request).await;
    }
    request.headers.push(("user-agent".to_owned(), BROWSER.to_vec()));
    request.target = "/SOGo/".to_owned();
    let first = get(&request).await;
    let Some((_, place)) = first.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location")) else {
        return first;
    };
    let Some(uid) = place.strip_prefix("/SOGo/") else { return Reply::new(502, "") };
    request.target = format!("/SOGo/so/{uid}/Mail/view");
    let page = get(&request).await;
    // The name stands in a script, as it is. Whoever looks at this page expects it as HTML has it.
    let text = String::from_utf8_lossy(&page.body).into_owned();
    let name = text.split("var UserLogin = '").nth(1).and_then(|rest| rest.split("';").next()).unwrap_or_default();
    Reply::html(page.status, escaped(name))
}
