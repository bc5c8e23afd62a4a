//! Zimbra: a strict stand-in of its preauth, since it cannot be had from a package registry.

use super::fakes::server::{Fault, Request};
use super::fakes::zimbra::Zimbra;
use super::{Application, Front, HOSTILE, pair};

pub const SETTINGS: &str = "preauth_key = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'";

/// What would be everybody's password, if anybody asked for one.
const UNUSED: &str = "never given to anybody";

impl Front for Zimbra {
    fn url(&self) -> String {
        self.url()
    }

    fn misbehave(&self, fault: Option<Fault>) {
        self.misbehave(fault);
    }

    fn requests(&self) -> Vec<Request> {
        self.requests()
    }
}

pub async fn start() -> Application {
    let mut people = vec![pair("ana@example.test", UNUSED), pair("ben@example.test", UNUSED)];
    for (number, name) in HOSTILE.iter().enumerate() {
        people.push(pair(&format!("h{number} {name}@example.test"), UNUSED));
    }
    let front = Zimbra::start(people.iter().map(|(login, _)| login.clone()).collect()).await.expect("loopback works");
    Application { front: Box::new(front), people, page: "/zimbra", left_out: Vec::new() }
}
