//! People sign in at an OpenID provider.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::login_here;
use crate::fakes::openid_provider::{CLIENT, OpenIdProvider, SECRET};
use crate::fakes::server::{Fault, locked};
use crate::house::House;
use crate::portal::{Asks, DAVE, DEMOTED, NAME, Person, Portal, Session, Words, cookie_set};

const COOKIE: &str = "__Host-keyward-id";
const HOST: &str = "https://app.example.test";
const AUDIENCE: &str = "webmail";
/// How long access tokens last, in seconds: roles are as old as this at most.
const ACCESS: u64 = 3;

pub struct Oidc {
    provider: OpenIdProvider,
    /// The provider's own name of the session that it opened last.
    sid: Arc<Mutex<String>>,
}

fn claims(person: &Person, roles: &[&str]) -> Value {
    json!({
        "preferred_username": person.user,
        "name": person.name,
        "email": person.email,
        "realm_access": {"roles": roles},
    })
}

impl Portal for Oidc {
    const KIND: &'static str = "oidc";
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
        let provider = OpenIdProvider::start(&[HOST]).await.unwrap();
        provider.lifetimes(ACCESS, Some(1800));
        let sid: Arc<Mutex<String>> = Arc::default();
        let shared = Arc::clone(&sid);
        provider.twist_id_claims(move |claims| claims["sid"].as_str().unwrap().clone_into(&mut locked(&shared)));
        Self { provider, sid }
    }

    fn settings(&self, lifetime: u64) -> String {
        format!(
            "[[portal]]\nname = \"{NAME}\"\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\n\
             client_secret = \"{SECRET}\"\nsession_lifetime = \"{lifetime}s\"\naudiences = [\"{AUDIENCE}\"]\n",
            self.provider.issuer()
        )
    }

    fn cookie(&self) -> String {
        COOKIE.to_owned()
    }

    fn other_cookies(&self) -> &'static [&'static str] {
        &["__Host-keyward-id-flow-0aZ-_9bc"]
    }

    fn login(&self, origin: &str, back: &str) -> String {
        login_here(origin, back)
    }

    async fn sign_in(&self, house: &House, person: &Person, cookies: &str, seconds: Option<u64>) -> Session {
        self.provider.signs_in(person.user);
        self.provider.knows(person.user, claims(person, person.said));
        let walk = async {
            let cookies = format!("Cookie: {cookies}");
            let navigates = ["Sec-Fetch-Mode: navigate", &cookies];
            let begun = house.browse("GET", "/.keyward/login/id?url=%2Finbox", &navigates, "").await;
            assert_eq!(begun.status, 303, "{begun:?}");
            let flow = begun.one("Set-Cookie");
            let back = self.provider.visit(&begun.one("Location")).unwrap();
            let both = format!("{cookies}; {}", flow.split(';').next().unwrap());
            let target = back.strip_prefix(HOST).unwrap();
            house.browse("GET", target, &["Sec-Fetch-Mode: navigate", &both], "").await
        };
        let answer = match seconds {
            Some(seconds) => house.while_sessions_last(self, seconds, walk).await,
            None => walk.await,
        };
        assert_eq!((answer.status, answer.one("Location").as_str()), (303, "/inbox"), "{answer:?}");
        Session { shown: cookie_set(&answer, COOKIE), sid: Some(locked(&self.sid).clone()) }
    }

    /// By the back channel.
    async fn sign_out_there(&self, house: &House, session: &Session) -> Option<()> {
        self.provider.ends(session.sid.as_deref().unwrap());
        let claims = self.provider.logout_claims(None, session.sid.as_deref());
        let body = format!("logout_token={}", self.provider.key().sign(&claims));
        let form = ["Content-Type: application/x-www-form-urlencoded"];
        let answer = house.browse("POST", "/.keyward/backchannel-logout/id", &form, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Some(())
    }

    /// The next renewal of the tokens tells of it.
    async fn demote(&self, _: &House, dave: &Session) -> Option<Session> {
        self.provider.knows(DAVE.user, claims(&DAVE, DEMOTED));
        Some(dave.clone())
    }

    async fn authorization(&self, person: &Person) -> Option<String> {
        self.provider.knows(person.user, claims(person, person.said));
        Some(format!("Bearer {}", self.provider.key().sign(&self.provider.access_claims(person.user, AUDIENCE))))
    }

    fn lose(&mut self) -> Option<()> {
        self.provider.misbehave(Some(Fault::CloseAtOnce));
        Some(())
    }
}
