//! Keyward asks the portal whose its cookie is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{LOGIN_URL, login_elsewhere};
use crate::fakes::server::{Fault, Reply, Server, locked};
use crate::house::House;
use crate::portal::{Asks, DEMOTED, NAME, Person, Portal, Session, Words};
use crate::support::{now, password_of};

const COOKIE: &str = "connect.sid";

/// A portal that says of each of its sessions whose it is.
pub struct Introspect {
    server: Server,
    /// By the cookie's value.
    sessions: Arc<Mutex<HashMap<String, Value>>>,
}

impl Portal for Introspect {
    const KIND: &'static str = "introspect";
    /// What was signed out here stays so while the portal still vouches for it.
    const WORDS: Words = Words {
        stranger: "no_session",
        expired: "no_session",
        signed_out: "revoked",
        called_off: "no_session",
        called_off_by_api: "revoked",
    };
    const ASKS: Asks = Asks::Strangers;
    const CREDENTIALS: &'static str = "portal";

    async fn open() -> Self {
        let sessions: Arc<Mutex<HashMap<String, Value>>> = Arc::default();
        let shared = Arc::clone(&sessions);
        let server = Server::start(move |request| {
            let cookies = request.cookies();
            let session = cookies.get(COOKIE).and_then(|shown| locked(&shared).get(shown).cloned());
            let session = session.filter(|session| session["exp"].as_u64().unwrap() > now());
            std::future::ready(Reply::json(200, &session.unwrap_or_else(|| json!({"active": false}))))
        });
        Self { server: server.await.unwrap(), sessions }
    }

    fn settings(&self, _: u64) -> String {
        format!(
            "[[portal]]\nname = \"{NAME}\"\nkind = \"introspect\"\ncookie = \"{COOKIE}\"\n{LOGIN_URL}\n\
             url = \"{}/session\"\ncache_for = \"1s\"\n",
            self.server.url()
        )
    }

    fn cookie(&self) -> String {
        COOKIE.to_owned()
    }

    fn login(&self, _: &str, back: &str) -> String {
        login_elsewhere(back)
    }

    async fn sign_in(&self, _: &House, person: &Person, _: &str, seconds: Option<u64>) -> Session {
        let [shown, sid] = [(); 2].map(|()| format!("{:032x}", rand::random::<u128>()));
        let session = json!({
            "active": true,
            "sid": sid,
            "username": person.user,
            "name": person.name,
            "email": person.email,
            "roles": person.said,
            "password": password_of(person.user),
            "exp": now() + seconds.unwrap_or(3600),
        });
        locked(&self.sessions).insert(shown.clone(), session);
        Session { shown, sid: Some(sid) }
    }

    async fn sign_out_there(&self, _: &House, session: &Session) -> Option<()> {
        locked(&self.sessions).remove(&session.shown).map(drop)
    }

    async fn demote(&self, _: &House, dave: &Session) -> Option<Session> {
        locked(&self.sessions).get_mut(&dave.shown).unwrap()["roles"] = json!(DEMOTED);
        Some(dave.clone())
    }

    async fn authorization(&self, _: &Person) -> Option<String> {
        None
    }

    async fn sign_in_over(&self, _: &House, _: &Person, _: &str) -> Option<Session> {
        None
    }

    fn lose(&mut self) -> Option<()> {
        self.server.misbehave(Some(Fault::CloseAtOnce));
        Some(())
    }
}
