//! Open-Xchange: a strict stand-in, since it cannot be had from a package registry.

use super::fakes::open_xchange::{OpenXchange, Options};
use super::fakes::server::{Fault, Request};
use super::{Application, Front, HOSTILE, pair};

impl Front for OpenXchange {
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
    let mut people = vec![pair("ana@example.test", "correct horse"), pair("ben@example.test", "battery staple")];
    for (number, password) in HOSTILE.iter().enumerate() {
        people.push(pair(&format!("h{number} {password}@example.test"), password));
    }
    people.push(pair("long@example.test", &"ä".repeat(100)));
    let mailboxes: Vec<(&str, &str)> =
        people.iter().map(|(login, password)| (login.as_str(), password.as_str())).collect();
    // The name of a shard is no key, and many share one; here it would look like a key that is shared.
    let options = Options { shards: true, ..Options::default() };
    let front = OpenXchange::start(&mailboxes, options).await.expect("loopback works");
    Application { front: Box::new(front), people, page: "/appsuite/", left_out: Vec::new() }
}
