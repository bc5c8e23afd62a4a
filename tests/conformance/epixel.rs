//! A client service of Epixel's single sign-on: a strict stand-in, since the software cannot be had. Its
//! host is whichever connector is being tried, behind a small server of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, Weak};

use keyward::backend::Guarded;
use keyward::domain::{Answered, Call, Client, Cookies, Desk, KnownAs, Person, Reach, Reply as Answer, SessionHandle};

use super::fakes::epixel_client::EpixelClient;
use super::fakes::server::{Fault, Reply, Request, Server, locked};
use super::{Application, Front, HOSTILE, pair};

pub const SETTINGS: &str = "[[key]]\nsecret = '00112233445566778899aabbccddeeff'";
const KEY: &str = "00112233445566778899aabbccddeeff";

/// What would be everybody's password, if anybody asked for one.
const UNUSED: &str = "never given to anybody";

type Hosts = Arc<Mutex<Vec<Weak<Guarded>>>>;

struct ClientOfHosts {
    client: EpixelClient,
    hosts: Hosts,
    _door: Server,
}

impl Front for ClientOfHosts {
    fn url(&self) -> String {
        self.client.url()
    }

    fn misbehave(&self, fault: Option<Fault>) {
        self.client.misbehave(fault);
    }

    fn requests(&self) -> Vec<Request> {
        self.client.requests()
    }

    fn tried(&self, connector: &Arc<Guarded>) {
        let mut hosts = locked(&self.hosts);
        hosts.retain(|host| host.strong_count() > 0);
        hosts.push(Arc::downgrade(connector));
    }
}

/// A house in which nobody is.
struct Nobody;

impl Desk for Nobody {
    fn person(&self, _: &Cookies<'_>) -> Option<Person> {
        None
    }

    fn may_enter(&self, _: &Person, _: &str) -> bool {
        false
    }

    fn known_as(&self, _: &Person, _: &str) -> Option<KnownAs> {
        None
    }

    fn sign_out(&self, _: &SessionHandle) {}
}

/// Asks one connector after the other, as the program does with back-ends that share their paths.
async fn answer(hosts: &Hosts, request: &Request) -> Reply {
    let hosts: Vec<_> = locked(hosts).iter().filter_map(Weak::upgrade).collect();
    let header = |name: &str| request.header(name);
    let (user_agent, accept_language) = (Vec::new().into(), Vec::new().into());
    let client = Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent, accept_language };
    let call = Call {
        reach: Reach::Servers,
        method: &request.method,
        path: request.path(),
        query: "",
        origin: "",
        cookies: Cookies::default(),
        client,
        header: &header,
        body: &request.body,
        vouched: None,
    };
    let mut last = Answer { status: 404, ..Answer::default() };
    for host in &hosts {
        let Some(service) = host.service() else { continue };
        if !service.takes(call.reach, call.method, call.path) {
            continue;
        }
        match service.answer(&call, &Nobody).await {
            Answered::Here(reply) => return Reply::new(reply.status, reply.body),
            Answered::Elsewhere(reply) | Answered::Vouched { reply, .. } => last = reply,
        }
    }
    Reply::new(last.status, last.body)
}

pub async fn start() -> Application {
    let mut people = vec![pair("ana@example.test", UNUSED), pair("ben@example.test", UNUSED)];
    for (number, name) in HOSTILE.iter().enumerate() {
        people.push(pair(&format!("h{number} {name}@example.test"), UNUSED));
    }
    let names: Vec<String> = people.iter().map(|(login, _)| login.clone()).collect();
    let client = EpixelClient::start(&names, KEY).await.expect("loopback works");
    let hosts = Hosts::default();
    let shared = Arc::clone(&hosts);
    let door = Server::start(move |request| {
        let hosts = Arc::clone(&shared);
        async move { answer(&hosts, &request).await }
    });
    let door = door.await.expect("loopback works");
    client.at(door.address());
    let front = Box::new(ClientOfHosts { client, hosts, _door: door });
    Application { front, people, page: "/", left_out: Vec::new() }
}
