//! The portal signs a ticket.

use super::{LOGIN_URL, login_elsewhere};
use crate::house::House;
use crate::portal::{Asks, DEMOTED, NAME, Person, Portal, Session, Words};
use crate::support::{APP_PORTAL, PortalKey, Ticket as Minted};

pub struct Ticket;

fn minted(person: &Person, sid: &str, roles: &[&str], seconds: u64) -> Session {
    let ticket = Minted::of(person.user).sid(sid).name(person.name).email(person.email).roles(roles).valid(seconds);
    Session { shown: ticket.mint(), sid: Some(sid.to_owned()) }
}

impl Portal for Ticket {
    const KIND: &'static str = "ticket";
    /// It says all of itself, to whoever looks at it.
    const WORDS: Words = Words {
        stranger: "forged",
        expired: "expired",
        signed_out: "revoked",
        called_off: "revoked",
        called_off_by_api: "revoked",
    };
    const ASKS: Asks = Asks::Nobody;
    const CREDENTIALS: &'static str = "portal";

    async fn open() -> Self {
        Self
    }

    fn settings(&self, _: u64) -> String {
        let PortalKey { cookie, id, secret, .. } = APP_PORTAL;
        format!(
            "[[portal]]\nname = \"{NAME}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n{LOGIN_URL}\n\
             [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n"
        )
    }

    fn cookie(&self) -> String {
        APP_PORTAL.cookie.to_owned()
    }

    fn login(&self, _: &str, back: &str) -> String {
        login_elsewhere(back)
    }

    async fn sign_in(&self, _: &House, person: &Person, _: &str, seconds: Option<u64>) -> Session {
        minted(person, &format!("{:032x}", rand::random::<u128>()), person.said, seconds.unwrap_or(3600))
    }

    async fn sign_out_there(&self, house: &House, session: &Session) -> Option<()> {
        assert_eq!(house.call("DELETE", session.sid.as_deref().unwrap(), None).await, 204);
        Some(())
    }

    async fn demote(&self, _: &House, dave: &Session) -> Option<Session> {
        Some(minted(&crate::portal::DAVE, dave.sid.as_deref().unwrap(), DEMOTED, 3600))
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
