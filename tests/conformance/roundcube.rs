//! Roundcube: the real one, with a real mail server, behind a proxy that can misbehave.

use std::net::SocketAddr;

use keyward::demo::Person;
use keyward::demo::process::{TemporaryWorkspace, Workspace};
use keyward::demo::roundcube::{Roundcube, RoundcubeOptions};
use keyward::domain::Secret;

use super::fakes::server::{Fault, Reply, Request, Server, forward};
use super::{Application, Front, HOSTILE, pair};

struct BehindProxy {
    proxy: Server,
    _servers: Roundcube,
    _workspace: TemporaryWorkspace,
}

impl Front for BehindProxy {
    fn url(&self) -> String {
        self.proxy.url()
    }

    fn misbehave(&self, fault: Option<Fault>) {
        self.proxy.misbehave(fault);
    }

    fn requests(&self) -> Vec<Request> {
        self.proxy.requests()
    }
}

/// Characters that no name can have here: the mail server's files cannot hold them (see
/// [`Person::name`]), but for `<`, which begins a tag to Roundcube that it cuts out.
const NOT_IN_NAMES: [char; 6] = [':', '/', '"', '\'', '\\', '<'];

pub async fn start() -> Application {
    let mut people = vec![pair("ana.dias", "correct horse"), pair("ben.okafor", "battery staple")];
    let mut left_out = vec![format!("names with one of {NOT_IN_NAMES:?}, which these servers cannot hold")];
    for (number, password) in HOSTILE.iter().enumerate() {
        if *password == "0" {
            left_out.push("the password \"0\", which is none to PHP; no mail server is asked about it".to_owned());
            continue;
        }
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
    let servers = Roundcube::start(workspace.path(), &mailboxes, &RoundcubeOptions::default()).await;
    let servers = servers.expect("Roundcube and Dovecot are installed; tests/run does it");
    let real: SocketAddr = servers.url().trim_start_matches("http://").parse().expect("an address");
    let proxy =
        Server::start(
            move |request| async move { forward(real, &request).await.unwrap_or_else(|_| Reply::new(502, "")) },
        );
    let proxy = proxy.await.expect("loopback works");
    let front = Box::new(BehindProxy { proxy, _servers: servers, _workspace: workspace });
    Application { front, people, page: "/?_task=mail", left_out }
}
