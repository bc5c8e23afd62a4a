//! Websydian Express: a strict stand-in of a site and its function, since it cannot be had from a
//! package registry; once with tickets that the connector's own service redeems, once with passwords.

use std::sync::Arc;

use keyward::backend::Guarded;

use super::fakes::server::{Fault, Request};
use super::fakes::websydian::{Asks, Key, SITE, Spelling, Websydian};
use super::offered::Offered;
use super::{Application, Front, HOSTILE, pair};

pub const TICKETS: &str = "site = '/express/site/shop'
signed_in_texts = ['Signed in as']
logout_path = '/express/site/shop/end'
service_key = '0123456789abcdef0123456789abcdef'";
pub const PASSWORDS: &str = "site = '/express/site/shop'
signed_in_texts = ['Signed in as']
logout_path = '/express/events?WSYD_EVENT=LogOff&WSYD_SID={sid}'
logout_method = 'post'
proof = 'password'";
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A site, and the way back to whoever signs people in.
struct Site {
    express: Websydian,
    offered: Offered,
}

impl Front for Site {
    fn url(&self) -> String {
        self.express.url()
    }

    fn misbehave(&self, fault: Option<Fault>) {
        self.express.misbehave(fault);
    }

    fn requests(&self) -> Vec<Request> {
        self.express.requests()
    }

    fn connect(&self, connector: &Arc<Guarded>) {
        self.offered.of(connector);
    }
}

pub async fn start(by_ticket: bool) -> Application {
    let mut people = vec![pair("ana@example.test", "correct horse"), pair("ben@example.test", "battery staple")];
    for (number, password) in HOSTILE.iter().enumerate() {
        people.push(pair(&format!("h{number} {password}@example.test"), password));
    }
    let offered = Offered::start().await;
    let asks = if by_ticket {
        let (address, path) = (offered.address(), "/sso/websydian/authorize".to_owned());
        let key = Key::Header("x-service-key".to_owned(), KEY.to_owned());
        Asks::Service { spelling: Spelling::Soap, address, path, key }
    } else {
        Asks::Passwords(people.clone())
    };
    let express = Websydian::start(asks).await.expect("loopback works");
    let users: Vec<&str> = people.iter().map(|(login, _)| login.as_str()).collect();
    express.know_only(&users);
    Application { front: Box::new(Site { express, offered }), people, page: SITE, left_out: Vec::new() }
}
