//! No secret is ever written anywhere: everything is marked, everything happens, everything that was
//! written is searched.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[path = "oidc/stage.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod stage;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fakes::axigen::{Person, Variant};
use fakes::openid_provider;
use fakes::server::Fault;
use support::{APP_PORTAL, Answer, Ask, DOORS, Door, House, PortalKey, Setup, Ticket, mailboxes, until};

/// What `keyward check` says, and how it ends.
fn check(config: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.toml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_keyward")).arg("check").arg("-c").arg(file).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// What must be found nowhere, with the place to say it by.
struct Canaries(Vec<(String, String)>);

impl Canaries {
    fn add(&mut self, what: &str, secret: &str) {
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    /// Searches a text for every secret, as it is and in every usual encoding.
    fn assert_not_in(&self, place: &str, text: &str) {
        let folded = text.to_ascii_lowercase();
        for (what, secret) in &self.0 {
            for form in forms(secret) {
                assert!(!folded.contains(&form), "{what} stands in {place} as {form:?}:\n{text}");
            }
        }
    }
}

/// A secret in every usual encoding, in lower case.
fn forms(secret: &str) -> Vec<String> {
    let percent = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let numbers = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>();
    let mut forms = vec![secret.to_owned(), percent, form, hex, numbers.join(", "), numbers.join(",")];
    forms.push(secret.escape_debug().to_string());
    forms.push(serde_json::to_string(secret).unwrap().trim_matches('"').to_owned());
    for shift in 0..3 {
        // In the middle of something longer; the characters at both ends depend on the neighbours.
        let shifted = [&vec![b'x'; shift][..], secret.as_bytes()].concat();
        for encoded in [STANDARD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            let inner = encoded.trim_end_matches('=');
            forms.push(inner[shift * 2..inner.len() - 2].to_owned());
        }
    }
    forms.iter().map(|form| form.to_ascii_lowercase()).collect()
}

#[test]
fn the_search_for_secrets_finds_them() {
    let mut canaries = Canaries(Vec::new());
    canaries.add("it", "Marked Secret & Söhne");
    let hidden = [
        "a Marked Secret & Söhne b".to_owned(),
        format!("{:?}", "Marked Secret & Söhne".as_bytes()),
        STANDARD.encode("user:Marked Secret & Söhne!"),
        URL_SAFE_NO_PAD.encode("{\"cred\":\"Marked Secret & Söhne\"}"),
        "?p=Marked+Secret+%26+S%C3%B6hne".to_owned(),
    ];
    for text in hidden {
        let found = std::panic::catch_unwind(|| canaries.assert_not_in("here", &text)).is_err();
        assert!(found, "{text}");
    }
    canaries.assert_not_in("here", "nothing of the kind");
}

/// A password, a query and a cookie that nothing else looks like.
const PASSWORD: &str = "Marked-P4ss wörd & #1=%41+";
const WRONG: &str = "Marked-Wr0ng-P4ssword";
const QUERY: &str = "marked-query-value-7319";
const COOKIE: &str = "marked-cookie-value-2854";
const SECRET: &str = "marked-portal-secret-of-32-bytes-and-more";
const URL_KEY: &str = "marked0clients0own0url0key000000";
const HOSTILE_KEY: &str = "Marked;Key;Of;The;Back;End";

/// A house whose people come to live through everything that can happen to them, and what was
/// secret about it.
struct Life {
    house: House,
    canaries: Canaries,
    refusals: Vec<Answer>,
}

const PORTAL: PortalKey = PortalKey { secret: SECRET, ..APP_PORTAL };
const SESSION: &str = "marked-session-name-5566";

impl Life {
    async fn begin(limits: &str) -> Self {
        let (office, post) = (mailboxes().await, mailboxes().await);
        for person in ["carla", "doris"] {
            office.add(Person::new(person, PASSWORD, person));
        }
        let config = House::config(&office.url(), &post.url(), limits, "").replacen(APP_PORTAL.secret, SECRET, 1);
        let keyward = Setup::new(&config).environment("RUST_LOG", "trace").start().await;
        let mut canaries = Canaries(Vec::new());
        canaries.add("the password", PASSWORD);
        canaries.add("the wrong password", WRONG);
        canaries.add("a cookie", COOKIE);
        canaries.add("the portal's secret", SECRET);
        canaries.add("the client's URL key", URL_KEY);
        canaries.add("the session's name", SESSION);
        canaries.add("a hostile key", HOSTILE_KEY);
        Self { house: House { keyward, office, post }, canaries, refusals: Vec::new() }
    }

    fn question(&mut self, ticket: Ticket, path: &str) -> Ask {
        let ticket = ticket.portal(PORTAL).mint();
        for (part, text) in ticket.split('.').enumerate().skip(2) {
            self.canaries.add(&format!("part {part} of a ticket"), text);
        }
        let cookies = format!("theme={COOKIE}; {}={ticket}; _hmail={COOKIE}", PORTAL.cookie);
        Ask::get(format!("https://app.example.test{path}?q={QUERY}&_h={URL_KEY}")).cookie(cookies)
    }

    /// Asks, and keeps a refusal for the search, or the keys to search for.
    async fn ask(&mut self, door: Door, ask: &Ask) -> u16 {
        let answer = self.house.keyward.ask(door, ask).await;
        let status = answer.status;
        self.keep(answer);
        status
    }

    fn keep(&mut self, answer: Answer) {
        if answer.status != 200 || answer.maybe("X-Upstream-Cookie").is_none() {
            self.refusals.push(answer);
            return;
        }
        self.canaries.add("the cookie key", answer.one("X-Upstream-Cookie").rsplit_once('=').unwrap().1);
        self.canaries.add("the URL key", answer.one("X-Upstream-Uri").rsplit_once("_h=").unwrap().1);
    }

    /// Everything that decisions can be.
    async fn decisions(&mut self, carla: &Ask) {
        for door in DOORS {
            assert_eq!(self.ask(door, carla).await, 200);
            for (ticket, path) in [
                (Ticket::of("carla").sid(SESSION), "/admin/x"),
                (Ticket::of("doris").password(WRONG), "/inbox"),
                (Ticket::of("doris").password(WRONG), "/%00"),
                (Ticket::of("doris").without_password(), "/inbox"),
            ] {
                let ask = self.question(ticket, path);
                assert_eq!(self.ask(door, &ask).await, 403);
            }
            let forged = carla.clone().cookie(format!("{}=kw1.2026a.{COOKIE}.{COOKIE}", PORTAL.cookie));
            self.ask(door, &forged).await;
        }
    }

    /// Keys that are refreshed, and keys that the back-end has dropped.
    async fn keep_alives(&mut self, carla: &Ask) {
        let alive = "keyward_keep_alives_total{backend=\"office\",outcome=\"alive\"}";
        let keyward = &self.house.keyward;
        until("a keep-alive", || async {
            keyward.ask(Door::AuthRequest, carla).await;
            keyward.metric(alive).await > 0.0
        })
        .await;
        self.house.office.drop_sessions();
        let renewed = self.house.keyward.exchange(carla.bytes_to("/authz/renew", Door::AuthRequest)).await;
        assert_eq!(renewed.status, 200);
        self.keep(renewed);
        assert_eq!(self.ask(Door::AuthRequest, carla).await, 200);
    }

    /// Everything that a back-end can do.
    async fn outages(&mut self) {
        for variant in [Variant::OnlyCookie, Variant::LoginPage, Variant::PasswordExpired, Variant::SaysNo] {
            self.house.office.set(variant);
            let ask = self.question(Ticket::of("doris").password(PASSWORD), "/");
            self.ask(Door::AuthRequest, &ask).await;
        }
        self.house.office.set(Variant::Documented);
        let faults =
            [Fault::Keys(HOSTILE_KEY.to_owned()), Fault::HalfAnswer, Fault::Garbage, Fault::CloseAtOnce, Fault::Hang];
        for (number, fault) in faults.into_iter().enumerate() {
            self.house.office.misbehave(Some(fault));
            let user = format!("user{number}");
            self.house.office.add(Person::new(&user, PASSWORD, &user));
            let ask = self.question(Ticket::of(&user).password(PASSWORD), "/");
            assert_eq!(self.ask(Door::AuthRequest, &ask).await, 503);
        }
        self.house.office.misbehave(None);
    }

    /// Sign-out, and what is asked for after it.
    async fn end(&mut self) {
        let ticket = Ticket::of("carla").portal(PORTAL).sid(SESSION).cookie();
        let line = format!("Cookie: theme={COOKIE}; {ticket}");
        let to = format!("?post_logout_redirect_uri={QUERY}");
        for path in ["/.keyward/whoami", "/.keyward/logout", &format!("/.keyward/logout{to}"), &format!("/nothing{to}")]
        {
            let answer = self.house.keyward.get(path, &[&line]).await;
            self.keep(answer);
        }
        let ask = self.question(Ticket::of("carla").sid(SESSION), "/inbox");
        assert_eq!(self.ask(Door::AuthRequest, &ask).await, 401);
        self.house.keyward.rewrite(&format!("[[portal]]\nname = \"x\"\nsecret = \"{SECRET}\"\nsecert = \"{SECRET}\""));
        self.house.keyward.reload("refused").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_written_anywhere_at_the_most_talkative_level() {
    let lives =
        ["", "login_method = \"get\"", "surface = \"mailbox-api\"\ncookie = \"_hmail\""].map(|kind| async move {
            let limits =
                format!("{kind}\nlogin_timeout = \"1s\"\nkeep_alive_interval = \"1s\"\nfailure_backoff = \"1ms\"");
            let mut life = Life::begin(&limits).await;
            let carla = life.question(Ticket::of("carla").password(PASSWORD).sid(SESSION), "/inbox");
            life.decisions(&carla).await;
            life.keep_alives(&carla).await;
            life.outages().await;
            life.end().await;
            let Life { house: House { mut keyward, .. }, mut canaries, refusals } = life;
            // A sign-in must bring the person back with their query; nothing else may show it.
            for (number, answer) in refusals.iter().enumerate() {
                let login = answer.maybe("X-Keyward-Login").or_else(|| answer.maybe("Location"));
                let text = login.map_or_else(|| answer.everything(), |login| answer.everything().replace(&login, ""));
                canaries.assert_not_in(&format!("refusal {number}"), &text);
            }
            canaries.add("the query", QUERY);
            canaries.assert_not_in("the metrics", &keyward.metrics().await);
            keyward.signal("TERM");
            assert_eq!(keyward.ended().await.code(), Some(0));
            let log = keyward.log();
            for line in [
                "\"level\":\"DEBUG\"",
                "signed in at the back-end",
                "login refused by the back-end",
                "could not sign in at the back-end",
                "signed out",
            ] {
                assert!(log.contains(line), "{line} is not in {log}");
            }
            canaries.assert_not_in("the log", &log);
        });
    futures_util::future::join_all(lives).await;
}

/// Names of what is secret about a sign-in at a provider, in addresses and forms.
const OF_A_SIGN_IN: [&str; 7] =
    ["state", "nonce", "code_challenge", "code", "code_verifier", "refresh_token", "id_token_hint"];

impl Canaries {
    /// What an address or a form of OpenID Connect has that is secret.
    fn add_sign_in(&mut self, query: &[u8]) {
        for (name, value) in url::form_urlencoded::parse(query) {
            if OF_A_SIGN_IN.contains(&&*name) {
                self.add_token(&name, &value);
            }
        }
    }

    /// Each part of it that differs from token to token.
    fn add_token(&mut self, what: &str, token: &str) {
        let parts: Vec<&str> = token.split('.').collect();
        parts.iter().skip(usize::from(parts.len() == 3)).for_each(|part| self.add(what, part));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_sign_in_at_a_provider_is_written() {
    let mut stage = stage::stage("audiences = [\"mail-api\"]").await;
    let mut canaries = Canaries(Vec::new());
    canaries.add("the client's secret", openid_provider::SECRET);
    let given: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = Arc::clone(&given);
    stage.provider.tells_of_access_tokens(move |token, _| hears.lock().unwrap().push(token.to_owned()));
    stage.provider.lifetimes(1, None);

    let mut browser = stage::Browser::default();
    let begun = stage.begin(&mut browser, "/inbox").await;
    canaries.add_sign_in(begun.split_once('?').unwrap().1.as_bytes());
    let under_way = browser.clone();
    let back = stage.provider.visit(&begun).unwrap();
    canaries.add_sign_in(back.split_once('?').unwrap().1.as_bytes());
    assert_eq!(stage.go(&mut browser, &back).await.status, 303);
    for (name, value) in under_way.jar.iter().chain(&browser.jar) {
        canaries.add(name, value);
    }
    assert_eq!(stage.go(&mut under_way.clone(), &back).await.status, 400, "once more");
    stage.provider.misbehave(Some(Fault::Garbage));
    until("an outage", || async {
        stage.ask(&browser, "/").await;
        stage.keyward.log().contains("the OpenID provider could not be asked")
    })
    .await;
    stage.provider.misbehave(None);
    until("a refresh", || async {
        stage.ask(&browser, "/").await;
        given.lock().unwrap().len() > 1
    })
    .await;

    stage.provider.twist_id_claims(|claims| claims["nonce"] = serde_json::json!("another"));
    let begun = stage.begin(&mut stage::Browser::default(), "/").await;
    canaries.add_sign_in(begun.split_once('?').unwrap().1.as_bytes());
    assert_eq!(stage.sign_in(&mut stage::Browser::default(), "/").await.status, 403);
    stage.provider.behaves();
    let key = stage.provider.key();
    let logout = key.sign(&stage.provider.access_claims("ana", "keyward"));
    canaries.add_token("what is no logout token", &logout);
    let (door, body) = ("/.keyward/backchannel-logout/id", format!("logout_token={logout}"));
    assert_eq!(stage.send(&mut stage::Browser::default(), "POST", door, &[], &body).await.status, 400);
    for (audience, status) in [("mail-api", 200), ("another", 401)] {
        let token = key.sign(&stage.provider.access_claims("ana", audience));
        canaries.add_token("a bearer token", &token);
        let ask = Ask::get(format!("{}/api", stage::MAIL)).header("Authorization", format!("Bearer {token}"));
        assert_eq!(stage.keyward.ask(Door::AuthRequest, &ask).await.status, status);
    }
    let out = stage.send(&mut browser, "GET", "/.keyward/logout", &["Sec-Fetch-Site: same-origin"], "").await;
    canaries.add_sign_in(out.one("location").split_once('?').unwrap().1.as_bytes());

    for request in stage.provider.requests() {
        canaries.add_sign_in(&request.body);
    }
    given.lock().unwrap().iter().for_each(|token| canaries.add_token("an access token", token));
    for what in OF_A_SIGN_IN {
        assert!(canaries.0.iter().any(|(name, _)| name == what), "{what} is not looked for");
    }
    canaries.assert_not_in("the metrics", &stage.keyward.metrics().await);
    stage.keyward.signal("TERM");
    assert_eq!(stage.keyward.ended().await.code(), Some(0));
    let log = stage.keyward.log();
    for line in ["signed in at the OpenID provider", "an ID token is not taken", "a logout token is not taken"] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
    canaries.assert_not_in("the log", &log);
}

#[test]
fn no_mistake_repeats_the_secret_it_is_about() {
    let mut canaries = Canaries(Vec::new());
    canaries.add("the secret", SECRET);
    let good = House::config("http://127.0.0.1:1", "http://127.0.0.1:2", "", "").replacen(APP_PORTAL.secret, SECRET, 1);
    let line = format!("secret = \"{SECRET}\"");
    for broken in [
        format!("secert = \"{SECRET}\""),
        format!("secret = \"{SECRET}"),
        format!("secret = {SECRET}"),
        format!("secret = \"{SECRET}\"\nsecret = \"{SECRET}\""),
        format!("secret = \"base64:{SECRET}\""),
        format!("secret = \"hex:{SECRET}\""),
        format!("secret_file = \"{SECRET}\""),
        format!("secret = [\"{SECRET}\"]"),
        format!("secret = {{ value = \"{SECRET}\" }}"),
        format!("id = \"{SECRET} \"\n{line}"),
        format!("\"{SECRET}\""),
    ] {
        let (code, output) = check(&good.replacen(&line, &broken, 1));
        assert_eq!(code, Some(1), "{broken}");
        canaries.assert_not_in(&format!("what check says of {broken}"), &output);
    }
    for key in ["kind = \"ticket\"", "cookie = \"office_session\"", "kind = \"axigen\""] {
        let (_, output) = check(&good.replacen(key, &format!("{}\"{SECRET} \"", key.split('"').next().unwrap()), 1));
        canaries.assert_not_in(&format!("a secret in the place of {key}"), &output);
    }
}
