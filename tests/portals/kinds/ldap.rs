//! People sign in at Keyward's own page, with the password that a real directory knows.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward::demo::process::{TemporaryWorkspace, Workspace};
use url::form_urlencoded::Serializer;

use super::login_here;
use crate::house::House;
use crate::portal::{ALICE, Asks, BOB, DAVE, NAME, Person, Portal, Session, Words, cookie_set};
use crate::real::slapd::{BASE, Options, READER, READER_PASSWORD, Slapd, group, group_dn, person_dn};
use crate::support::password_of;

const COOKIE: &str = "__Host-keyward-id";
const PAGE: &str = "/.keyward/login/id?url=%2Finbox";

pub struct Ldap {
    slapd: Slapd,
    // Last, so that the directory ends before its files go.
    _files: TemporaryWorkspace,
}

/// Everybody, with the groups that are their roles.
fn ldif() -> String {
    let people = [ALICE, BOB, DAVE];
    let mut ldif = String::new();
    for Person { user, name, email, .. } in &people {
        // What is not ASCII stands in LDIF as Base64.
        let _ = write!(
            ldif,
            "dn: {}\nobjectClass: inetOrgPerson\nuid: {user}\ncn:: {}\nsn: {user}\nmail: {email}\nuserPassword: {}\n\n",
            person_dn(user),
            STANDARD.encode(name),
            password_of(user),
        );
    }
    for role in ["personal", "leitung", "chess club"] {
        let members = people.iter().filter(|person| person.said.contains(&role));
        let members: Vec<String> = members.map(|person| person_dn(person.user)).collect();
        ldif += &group(role, &members);
    }
    ldif
}

impl Portal for Ldap {
    const KIND: &'static str = "ldap";
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
        let files = Workspace::temporary().unwrap();
        let options = Options { ldif: ldif(), ..Options::default() };
        let slapd = Slapd::start(files.directory("slapd").unwrap().path(), options).await.unwrap();
        Self { slapd, _files: files }
    }

    fn settings(&self, lifetime: u64) -> String {
        format!(
            "[[portal]]\nname = \"{NAME}\"\nkind = \"ldap\"\nservers = [\"{}\"]\nbind_dn = \"{READER}\"\n\
             bind_password = \"{READER_PASSWORD}\"\nbase = \"ou=people,{BASE}\"\ngroup_base = \"ou=groups,{BASE}\"\n\
             refresh_every = \"1s\"\nsession_lifetime = \"{lifetime}s\"\n",
            self.slapd.url()
        )
    }

    fn cookie(&self) -> String {
        COOKIE.to_owned()
    }

    fn other_cookies(&self) -> &'static [&'static str] {
        &["__Host-keyward-id-form", "__Host-keyward-id-known"]
    }

    fn login(&self, origin: &str, back: &str) -> String {
        login_here(origin, back)
    }

    async fn sign_in(&self, house: &House, person: &Person, cookies: &str, seconds: Option<u64>) -> Session {
        let walk = async {
            let held = format!("Cookie: {cookies}");
            let shown = house.browse("GET", PAGE, &["Sec-Fetch-Mode: navigate", &held], "").await;
            assert_eq!(shown.status, 200, "{shown:?}");
            let page = shown.text();
            let (_, token) = page.split_once("name=\"form\" value=\"").unwrap();
            let fields = [
                ("name", person.user),
                ("password", &password_of(person.user)),
                ("form", token.split('"').next().unwrap()),
            ];
            let body = Serializer::new(String::new()).extend_pairs(fields).finish();
            let form = shown.one("Set-Cookie");
            let held = format!("{held}; {}", form.split(';').next().unwrap());
            let lines = [
                "Sec-Fetch-Mode: navigate",
                "Sec-Fetch-Site: same-origin",
                "Content-Type: application/x-www-form-urlencoded",
                &held,
            ];
            house.browse("POST", PAGE, &lines, &body).await
        };
        let answer = match seconds {
            Some(seconds) => house.while_sessions_last(self, seconds, walk).await,
            None => walk.await,
        };
        assert_eq!((answer.status, answer.one("Location").as_str()), (303, "/inbox"), "{answer:?}");
        Session { shown: cookie_set(&answer, COOKIE), sid: None }
    }

    async fn sign_out_there(&self, _: &House, _: &Session) -> Option<()> {
        None
    }

    async fn demote(&self, _: &House, dave: &Session) -> Option<Session> {
        let leaves =
            format!("dn: {}\nchangetype: modify\ndelete: member\nmember: {}\n", group_dn("leitung"), person_dn("dave"));
        self.slapd.modify(&leaves).await.unwrap();
        Some(dave.clone())
    }

    async fn authorization(&self, person: &Person) -> Option<String> {
        Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", person.user, password_of(person.user)))))
    }

    fn lose(&mut self) -> Option<()> {
        self.slapd.stop();
        Some(())
    }
}
