//! Axigen: a strict stand-in, since it cannot be had from a package registry.

use super::fakes::axigen::{Axigen, Person};
use super::fakes::server::{Fault, Request};
use super::{Application, Front, HOSTILE, pair};

impl Front for Axigen {
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
    let mailboxes = people.iter().map(|(login, password)| Person::new(login, password, login)).collect();
    let front = Axigen::start(mailboxes).await.expect("loopback works");
    Application { front: Box::new(front), people, page: "/", left_out: Vec::new() }
}

/// By access tokens, which stand in the place of passwords then.
pub const TOKENS: &str = "surface = 'mailbox-api'\ntoken_session = 'headers'";

pub async fn start_with_tokens() -> Application {
    let mut people = vec![pair("ana@example.test", "tokenOfAna"), pair("ben@example.test", "tokenOfBen")];
    // Everything that may stand in a token (RFC 6750), and one as long as they come.
    people.push(pair("odd@example.test", "eyJ0.a-b_c~d+e/f=="));
    people.push(pair("long@example.test", &"x".repeat(4000)));
    let front = Axigen::start(Vec::new()).await.expect("loopback works");
    for (login, token) in &people {
        front.accept(token, login);
    }
    Application { front: Box::new(front), people, page: "/", left_out: Vec::new() }
}
