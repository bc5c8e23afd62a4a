//! A client service of Epixel's single sign-on: a strict stand-in, since the software cannot be had. Its
//! host is whichever connector is being tried.

use std::sync::Arc;

use keyward::backend::Guarded;

use super::fakes::epixel_client::EpixelClient;
use super::fakes::server::{Fault, Request};
use super::offered::Offered;
use super::{Application, Front, HOSTILE, pair};

pub const SETTINGS: &str = "[[key]]\nsecret = '00112233445566778899aabbccddeeff'";
const KEY: &str = "00112233445566778899aabbccddeeff";

/// What would be everybody's password, if anybody asked for one.
const UNUSED: &str = "never given to anybody";

/// A client service, and the way back to its host.
struct Service {
    client: EpixelClient,
    offered: Offered,
}

impl Front for Service {
    fn url(&self) -> String {
        self.client.url()
    }

    fn misbehave(&self, fault: Option<Fault>) {
        self.client.misbehave(fault);
    }

    fn requests(&self) -> Vec<Request> {
        self.client.requests()
    }

    fn connect(&self, connector: &Arc<Guarded>) {
        self.offered.of(connector);
    }
}

pub async fn start() -> Application {
    let mut people = vec![pair("ana@example.test", UNUSED), pair("ben@example.test", UNUSED)];
    for (number, name) in HOSTILE.iter().enumerate() {
        people.push(pair(&format!("h{number} {name}@example.test"), UNUSED));
    }
    let names: Vec<String> = people.iter().map(|(login, _)| login.clone()).collect();
    let client = EpixelClient::start(&names, KEY).await.expect("loopback works");
    let offered = Offered::start().await;
    client.at(offered.address());
    let front = Box::new(Service { client, offered });
    Application { front, people, page: "/", left_out: Vec::new() }
}
