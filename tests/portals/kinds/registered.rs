//! The portal tells of its sessions through the API.

use serde_json::json;

use super::{LOGIN_URL, login_elsewhere};
use crate::house::House;
use crate::portal::{Asks, DAVE, DEMOTED, NAME, Person, Portal, Session, Words};
use crate::support::{now, password_of};

pub struct Registered;

const COOKIE: &str = "PHPSESSID";

async fn told(house: &House, session: &Session, person: &Person, roles: &[&str], seconds: u64) -> u16 {
    let told = json!({
        "user": person.user,
        "name": person.name,
        "email": person.email,
        "roles": roles,
        "password": password_of(person.user),
        "expires": now() + seconds,
    });
    house.call("PUT", session.sid.as_deref().unwrap(), Some(&told)).await
}

impl Portal for Registered {
    const KIND: &'static str = "registered";
    const WORDS: Words = Words {
        stranger: "no_session",
        expired: "no_session",
        signed_out: "no_session",
        called_off: "no_session",
        called_off_by_api: "no_session",
    };
    const ASKS: Asks = Asks::Nobody;
    const CREDENTIALS: &'static str = "portal";

    async fn open() -> Self {
        Self
    }

    fn settings(&self, _: u64) -> String {
        format!("[[portal]]\nname = \"{NAME}\"\nkind = \"registered\"\ncookie = \"{COOKIE}\"\n{LOGIN_URL}\n")
    }

    fn cookie(&self) -> String {
        COOKIE.to_owned()
    }

    fn login(&self, _: &str, back: &str) -> String {
        login_elsewhere(back)
    }

    async fn sign_in(&self, house: &House, person: &Person, _: &str, seconds: Option<u64>) -> Session {
        let shown = format!("{:032x}", rand::random::<u128>());
        let session = Session { sid: Some(shown.clone()), shown };
        assert_eq!(told(house, &session, person, person.said, seconds.unwrap_or(3600)).await, 201);
        session
    }

    async fn sign_out_there(&self, house: &House, session: &Session) -> Option<()> {
        assert_eq!(house.call("DELETE", session.sid.as_deref().unwrap(), None).await, 204);
        Some(())
    }

    async fn demote(&self, house: &House, dave: &Session) -> Option<Session> {
        assert_eq!(told(house, dave, &DAVE, DEMOTED, 3600).await, 204);
        Some(dave.clone())
    }

    async fn authorization(&self, _: &Person) -> Option<String> {
        None
    }

    async fn sign_in_over(&self, _: &House, _: &Person, _: &str) -> Option<Session> {
        None
    }

    fn lose(&mut self) -> Option<()> {
        None
    }
}
