//! A host sends the browser with a token that works once.

use serde_json::json;

use super::{LOGIN_URL, login_elsewhere};
use crate::fakes::epixel_host::EpixelHost;
use crate::fakes::server::Fault;
use crate::house::House;
use crate::portal::{Asks, NAME, Person, Portal, Session, Words, cookie_set};

pub struct OneTimeToken {
    host: EpixelHost,
}

const KEY: &str = "00112233445566778899aabbccddeeff";
const COOKIE: &str = "__Host-keyward";

impl Portal for OneTimeToken {
    const KIND: &'static str = "one-time-token";
    const WORDS: Words = Words {
        stranger: "no_session",
        expired: "no_session",
        signed_out: "no_session",
        called_off: "no_session",
        called_off_by_api: "no_session",
    };
    const ASKS: Asks = Asks::Nobody;
    const CREDENTIALS: &'static str = "derived";

    async fn open() -> Self {
        Self { host: EpixelHost::start(KEY).await.unwrap() }
    }

    fn settings(&self, _: u64) -> String {
        format!(
            "[[portal]]\nname = \"{NAME}\"\nkind = \"one-time-token\"\n{LOGIN_URL}\nhost = \"{}\"\napikey = \"{KEY}\"\n",
            self.host.url()
        )
    }

    fn cookie(&self) -> String {
        COOKIE.to_owned()
    }

    fn login(&self, _: &str, back: &str) -> String {
        login_elsewhere(back)
    }

    async fn sign_in(&self, house: &House, person: &Person, cookies: &str, seconds: Option<u64>) -> Session {
        let sid = format!("api-{:016x}", rand::random::<u64>());
        let token = self.host.mint_for(json!({
            "api_sid": sid,
            "access": "opaque.access",
            "username": person.user,
            "name": person.name,
            "email": person.email,
            "roles": person.said,
            "expires_in": seconds.unwrap_or(3600),
        }));
        let target = format!("/sso/epixel/login?token={token}");
        let answer = house.browse("GET", &target, &[&format!("Cookie: {cookies}")], "").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        Session { shown: cookie_set(&answer, COOKIE), sid: Some(sid) }
    }

    async fn sign_out_there(&self, house: &House, session: &Session) -> Option<()> {
        assert_eq!(self.host.end(house.keyward.api, session.sid.as_deref().unwrap(), None).await, 200);
        Some(())
    }

    async fn demote(&self, _: &House, _: &Session) -> Option<Session> {
        None
    }

    async fn authorization(&self, _: &Person) -> Option<String> {
        None
    }

    fn lose(&mut self) -> Option<()> {
        self.host.misbehave(Some(Fault::CloseAtOnce));
        Some(())
    }
}
