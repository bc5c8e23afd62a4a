//! Keyward is the client; the host is a stand-in.

mod ends;

use std::net::SocketAddr;

use serde_json::json;

use super::fakes::epixel_host::EpixelHost;
use super::fakes::server::{Fault, Reply};
use super::support::{Address, Answer, Ask, Door, Setup, Sidecar, until};
use super::{KEY, OTHER_KEY, assert_logs_hold_none, cookie_of, request};

struct Stage {
    keyward: Sidecar,
    host: EpixelHost,
}

async fn stage(more: &str) -> Stage {
    let host = EpixelHost::start(KEY).await.unwrap();
    let setup = Setup::new(&config(&host.url(), more)).environment("RUST_LOG", "trace");
    let keyward = setup.with_api().start().await;
    Stage { keyward, host }
}

fn config(host: &str, more: &str) -> String {
    format!(
        "[[route]]\nhost = \"mail.example.test\"\nportal = \"mlm\"\n\
         [[portal]]\nname = \"mlm\"\nkind = \"one-time-token\"\nlogin_url = \"https://mlm.example.test/?next={{url}}\"\n\
         host = \"{host}\"\napikey = \"{KEY}\"\nhost_timeout = \"2s\"\n{more}\n"
    )
}

impl Stage {
    /// A browser comes through a web server that serves https.
    async fn browser(&self, method: &str, target: &str, lines: &[&str], body: &str) -> Answer {
        let mut all = vec!["X-Forwarded-Proto: https".to_owned(), "X-Forwarded-Host: mail.example.test".to_owned()];
        all.extend(lines.iter().map(|line| (*line).to_owned()));
        self.keyward.exchange(request(method, target, "keyward", &all, body)).await
    }

    async fn follow(&self, token: &str, lines: &[&str]) -> Answer {
        self.browser("GET", &format!("/sso/epixel/login?token={token}"), lines, "").await
    }

    /// Somebody's session cookie, and the host's name of the session.
    async fn signed_in(&self, user: &str) -> (String, String) {
        let (token, api_sid) = self.host.mint(user);
        let answer = self.follow(&token, &[]).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        (cookie_of(&answer), api_sid)
    }

    async fn ask(&self, cookie: &str) -> Answer {
        self.keyward.ask(Door::AuthRequest, &Ask::get("https://mail.example.test/").cookie(cookie)).await
    }

    fn auth(&self) -> SocketAddr {
        let Address::Tcp(address) = &self.keyward.auth else { panic!("a port") };
        *address
    }

    fn verifications(&self) -> usize {
        self.host.requests().iter().filter(|request| request.path().ends_with("token-verify/")).count()
    }
}

fn assert_no_session(answer: &Answer) {
    assert!(answer.maybe("set-cookie").is_none() && answer.maybe("location").is_none(), "{answer:?}");
    assert_eq!(answer.one("cache-control"), "no-store");
}

#[tokio::test]
async fn a_token_opens_a_session_once_and_is_stripped_at_once() {
    let stage = stage("application = \"/mail/\"").await;
    let (token, api_sid) = stage.host.mint("ana");
    let answer = stage.follow(&token, &[]).await;
    assert_eq!((answer.status, answer.one("location").as_str()), (303, "/mail/"));
    assert_eq!(
        (answer.one("referrer-policy").as_str(), answer.one("cache-control").as_str()),
        ("no-referrer", "no-store")
    );
    let line = answer.one("set-cookie");
    let (cookie, attributes) = line.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
    let value = cookie.strip_prefix("__Host-keyward=").unwrap();
    assert_eq!(value.len(), 43, "256 bits");
    stage.ask(cookie).await.assert_allows("ana");
    until("the acknowledgement", || async { stage.host.acknowledged() == [api_sid.clone()] }).await;
    let replayed = stage.follow(&token, &[]).await;
    assert_eq!(replayed.status, 403);
    assert_no_session(&replayed);
    assert_logs_hold_none(&stage.keyward, &[&token, &api_sid, value, KEY]);
}

#[tokio::test]
async fn of_fifty_who_bring_one_token_at_once_one_is_let_in() {
    let stage = stage("").await;
    let (token, _) = stage.host.mint("ana");
    let mut answers = futures_util::future::join_all((0..50).map(|_| stage.follow(&token, &[]))).await;
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(answers[0].status, 303);
    for answer in &answers[1..] {
        assert_eq!(answer.status, 403);
        assert_no_session(answer);
    }
}

#[tokio::test]
async fn a_strange_answer_is_never_a_session() {
    let stage = stage("").await;
    let json = |status, text: &str| Reply::new(status, text).with("Content-Type", "application/json");
    for (reply, status) in [
        (json(200, ""), 503),
        (json(200, "null"), 503),
        (json(200, "{}"), 503),
        (json(200, "[]"), 503),
        (json(200, "{\"ok\":\"false\"}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\"}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"username\":\"ana\"}"), 503),
        (json(200, "{\"access\":\"b\",\"username\":\"ana\"}"), 503),
        (json(200, "{\"api_sid\":\"\",\"access\":\"b\",\"username\":\"ana\"}"), 503),
        (json(200, "{\"api_sid\":7,\"access\":\"b\",\"username\":\"ana\"}"), 503),
        (json(200, "{\"api_sid\":\"a b\",\"access\":\"b\",\"username\":\"ana\"}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":\"\"}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":\"a\\nb\"}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":true}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":[\"ana\"]}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":\"ana\",\"roles\":\"admin\"}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":\"ana\",\"expires_in\":0}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":\"ana\",\"expires_in\":\"60\"}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":\"ana\",\"expires_in\":-1}"), 503),
        (json(200, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":\"ana\""), 503),
        (Reply::html(200, "<form><input type=\"password\"></form>"), 503),
        (json(201, "{\"api_sid\":\"a\",\"access\":\"b\",\"username\":\"ana\"}"), 503),
        (json(204, ""), 503),
        (Reply::new(302, "").with("Location", "/login"), 503),
        (json(429, "{}"), 503),
        (json(500, "{}"), 503),
        (json(401, "{}"), 403),
        (json(403, ""), 403),
        (json(404, ""), 403),
    ] {
        let shown = format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
        stage.host.say_instead(Some(reply));
        let answer = stage.follow("T", &[]).await;
        assert_eq!(answer.status, status, "{shown}");
        assert_eq!(answer.maybe("retry-after").is_some(), status == 503, "{shown}");
        assert_no_session(&answer);
        assert!(answer.one("content-type").starts_with("text/html"));
    }
    stage.host.say_instead(None);
    for fault in [
        Fault::CloseAtOnce,
        Fault::HalfAnswer,
        Fault::Garbage,
        Fault::EndlessHeaders,
        Fault::EndlessBody,
        Fault::Hang,
        Fault::Drip(std::time::Duration::from_millis(200)),
    ] {
        stage.host.misbehave(Some(fault.clone()));
        let (token, _) = stage.host.mint("ana");
        let answer = stage.follow(&token, &[]).await;
        assert_eq!(answer.status, 503, "{fault:?}");
        assert_no_session(&answer);
    }
    assert!(stage.host.acknowledged().is_empty());
}

#[tokio::test]
async fn whatever_is_no_single_token_is_not_asked_about() {
    let stage = stage("").await;
    let long = "a".repeat(5000);
    for query in [
        "",
        "?",
        "?token=",
        "?token=a&token=a",
        "?token=a&sso_token=b",
        "?token=a&continue=b",
        "?other=a",
        "?token=a%20b",
        "?token=%00",
        "?token=%C3%A4",
        "?token=a%0d%0ab",
        &format!("?token={long}"),
    ] {
        let answer = stage.browser("GET", &format!("/sso/epixel/login{query}"), &[], "").await;
        assert_eq!(answer.status, 400, "{query}");
        assert_no_session(&answer);
    }
    let (token, _) = stage.host.mint("ana");
    for (method, line) in
        [("HEAD", "A: b"), ("PUT", "A: b"), ("GET", "Sec-Purpose: prefetch;prerender"), ("GET", "Purpose: prefetch")]
    {
        let target = format!("/sso/epixel/login?token={token}");
        let mut connection = stage.keyward.connect().await;
        let lines = ["X-Forwarded-Proto: https".to_owned(), "X-Forwarded-Host: m.test".to_owned(), line.to_owned()];
        connection.send(request(method, &target, "keyward", &lines, "")).await;
        let answer = if method == "HEAD" { connection.answer_to_head().await } else { connection.answer().await };
        assert!(answer.status >= 400, "{method} {line}");
        assert_no_session(&answer);
    }
    assert_eq!(stage.verifications(), 0);
    assert_eq!(stage.follow(&token, &[]).await.status, 303, "and it is still good");
}

#[tokio::test]
async fn every_spelling_of_the_dialect_is_understood() {
    let stage = stage("session_lifetime = \"1h\"").await;
    for (name, answer) in [
        ("token", json!({"api_sid": "s1", "access": "a", "username": "ana", "expires_in": 60})),
        ("sso_token", json!({"api_session_id": "s2", "access_token": "a", "username": "ana"})),
        ("auth_token", json!({"session_id": "s3", "token": "a", "username": "ana"})),
        (
            "t",
            json!({"sid": "s4", "access": "a", "username": "ana", "name": "Ana D", "email": "a@b.test", "roles": ["x"]}),
        ),
    ] {
        let token = stage.host.mint_for(answer.clone());
        let entered = stage.browser("GET", &format!("/sso/epixel/login/?{name}={token}"), &[], "").await;
        assert_eq!(entered.status, 303, "{name}: {entered:?}");
        let allowed = stage.ask(&cookie_of(&entered)).await;
        allowed.assert_allows("ana");
        let left: u64 = allowed.one("X-Keyward-Session-Seconds").parse().unwrap();
        let lifetime = answer["expires_in"].as_u64().unwrap_or(3600);
        assert!(left <= lifetime && left + 10 > lifetime, "{left} of {lifetime}");
        if name == "t" {
            assert_eq!(
                (allowed.one("Remote-Name"), allowed.one("Remote-Groups")),
                ("Ana D".to_owned(), "x".to_owned())
            );
        }
    }
    let sids = ["s1", "s2", "s3", "s4"];
    until("all four", || async { sids.iter().all(|sid| stage.host.acknowledged().iter().any(|held| held == sid)) })
        .await;
}

#[tokio::test]
async fn who_it_is_is_told_where_the_operator_says() {
    let key = keyward::wire::Hs256::new(OTHER_KEY.as_bytes());
    let later = super::support::now() + 300;
    let good = key.sign(&json!({"user_id": 17, "exp": later}));
    let claims = "identity_from = \"access-token\"\n";
    let members = "[portal.members]\nuser = [\"user_id\", \"profile.login\"]\n";
    let secret = format!("access_secret = \"{OTHER_KEY}\"\n");
    let forged = keyward::wire::Hs256::new(b"another").sign(&json!({"user_id": 17, "exp": later}));
    let expired = key.sign(&json!({"user_id": 17, "exp": later - 600}));
    let typed = key.sign(&json!({"user_id": 17, "exp": later.to_string()}));
    for (settings, access, user) in [
        (format!("{claims}{members}"), good.as_str(), Some("17")),
        (format!("{claims}{secret}{members}"), &good, Some("17")),
        (format!("{claims}{members}"), &forged, Some("17")),
        (format!("{claims}{secret}{members}"), &forged, None),
        (format!("{claims}{members}"), &expired, None),
        (format!("{claims}{members}"), &typed, None),
        (format!("{claims}{members}"), "opaque", None),
        (format!("identity_from = \"profile\"\nencoding = \"form\"\n{members}"), "bearer-1", Some("ana")),
        (format!("identity_from = \"profile\"\n{members}"), "bearer-2", None),
    ] {
        let stage = stage(&settings).await;
        stage.host.knows("bearer-1", json!({"profile": {"login": "ana"}}));
        let token = stage.host.mint_for(json!({"api_sid": "s", "access": access, "username": "not this"}));
        let answer = stage.follow(&token, &[]).await;
        match user {
            Some(user) => {
                stage.ask(&cookie_of(&answer)).await.assert_allows(user);
            }
            None => {
                assert_eq!(answer.status, 503, "{settings} {access}");
                assert_no_session(&answer);
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_replaced_by_somebody_else_unasked() {
    let stage = stage("").await;
    let (ana, _) = stage.signed_in("ana").await;
    let line = format!("Cookie: {ana}");
    let (token, _) = stage.host.mint("<eve>");
    let page = stage.follow(&token, &[&line]).await;
    assert_eq!(page.status, 200);
    assert_no_session(&page);
    let text = page.text();
    assert!(text.contains("<bdi>ana</bdi>") && text.contains("<bdi>&lt;eve&gt;</bdi>"), "{text}");
    let name = text.split("name=\"continue\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let form = "Content-Type: application/x-www-form-urlencoded";
    let body = format!("continue={name}");
    // Neither a link, nor another browser, nor another session goes on with it.
    let (ben, _) = stage.signed_in("ben").await;
    let other = format!("Cookie: {ben}");
    let by_link = stage.browser("GET", &format!("/sso/epixel/login?continue={name}"), &[&line], "").await;
    let strangers = stage.browser("POST", "/sso/epixel/login", &[form], &body).await;
    let bens = stage.browser("POST", "/sso/epixel/login", &[form, &other], &body).await;
    for answer in [by_link, strangers, bens] {
        assert_eq!(answer.status, 403);
        assert_no_session(&answer);
    }
    stage.ask(&ana).await.assert_allows("ana");
    let agreed = stage.browser("POST", "/sso/epixel/login", &[form, &line], &body).await;
    assert_eq!(agreed.status, 303);
    stage.ask(&cookie_of(&agreed)).await.assert_allows("<eve>");
    assert!(stage.ask(&ana).await.status == 401, "the old session is dead");
    let again = stage.browser("POST", "/sso/epixel/login", &[form, &line], &body).await;
    assert_eq!(again.status, 403, "only once");
    assert!(stage.host.ended().is_empty(), "nobody was signed out at the host");
}

#[tokio::test]
async fn the_same_person_gets_a_new_session_and_the_old_one_is_dead() {
    let stage = stage("").await;
    let (old, _) = stage.signed_in("ana").await;
    let (token, _) = stage.host.mint("ana");
    let answer = stage.follow(&token, &[&format!("Cookie: {old}")]).await;
    assert_eq!(answer.status, 303);
    stage.ask(&cookie_of(&answer)).await.assert_allows("ana");
    assert_eq!(stage.ask(&old).await.status, 401);
    // A cookie that somebody planted is not taken over.
    let planted = "__Host-keyward=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let (token, _) = stage.host.mint("ana");
    let answer = stage.follow(&token, &[&format!("Cookie: {planted}")]).await;
    assert_ne!(cookie_of(&answer), planted);
    assert!(stage.host.ended().is_empty());
}

#[tokio::test]
async fn a_form_of_another_site_is_not_believed_either() {
    let stage = stage("").await;
    let (ana, _) = stage.signed_in("ana").await;
    let (token, _) = stage.host.mint("eve");
    let form = "Content-Type: application/x-www-form-urlencoded";
    // The browser leaves our cookie out, and brings it along when it is sent on.
    let posted = stage.browser("POST", "/sso/epixel/login", &[form], &format!("token={token}")).await;
    assert_eq!(posted.status, 303);
    assert!(posted.maybe("set-cookie").is_none());
    let on = posted.one("location");
    assert!(!on.contains(&token), "{on}");
    let page = stage.browser("GET", &on, &[&format!("Cookie: {ana}")], "").await;
    assert!(page.status == 200 && page.text().contains("<bdi>eve</bdi>"), "{page:?}");
    let (token, _) = stage.host.mint("ben");
    let posted = stage.browser("POST", "/sso/epixel/login", &[form], &format!("token={token}")).await;
    let let_in = stage.browser("GET", &posted.one("location"), &[], "").await;
    stage.ask(&cookie_of(&let_in)).await.assert_allows("ben");
    assert_eq!(stage.browser("GET", &posted.one("location"), &[], "").await.status, 403, "only once");
}

#[tokio::test]
async fn a_browser_goes_on_to_a_place_on_this_host_only() {
    let stage = stage("application = \"/mail/\"").await;
    for (next, place) in [
        ("&next=%2Finbox%3Fa%3D1%26b%3D2", "/inbox?a=1&b=2"),
        ("&next=//evil.test", "/mail/"),
        ("&next=%2F%5Cevil.test", "/mail/"),
        ("&next=https://evil.test/", "/mail/"),
        ("&next=https://mail.example.test@evil.test/", "/mail/"),
        ("&next=javascript:alert(1)", "/mail/"),
        ("&next=/a%0d%0aSet-Cookie:%20x=y", "/mail/"),
        ("&next=/a&next=/b", "/mail/"),
        ("", "/mail/"),
    ] {
        let (token, _) = stage.host.mint("ana");
        let answer = stage.browser("GET", &format!("/sso/epixel/login?token={token}{next}"), &[], "").await;
        assert_eq!((answer.status, answer.one("location").as_str()), (303, place), "{next}");
    }
}

#[tokio::test]
async fn over_http_nobody_gets_a_cookie_that_browsers_throw_away() {
    let stage = stage("").await;
    let (token, _) = stage.host.mint("ana");
    let answer = stage.keyward.get(&format!("/sso/epixel/login?token={token}"), &[]).await;
    assert_eq!(answer.status, 500);
    assert_no_session(&answer);
    assert_eq!(stage.verifications(), 0);
    let stage = super::client::stage("cookie = \"keyward\"").await;
    let (token, _) = stage.host.mint("ana");
    let answer = stage.keyward.get(&format!("/sso/epixel/login?token={token}"), &[]).await;
    assert!(answer.one("set-cookie").ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{answer:?}");
}

#[tokio::test]
async fn sessions_and_their_names_outlive_a_reload() {
    let stage = stage("").await;
    let (ana, api_sid) = stage.signed_in("ana").await;
    stage.keyward.rewrite(&config(&stage.host.url(), "session_lifetime = \"1h\""));
    stage.keyward.reload("applied").await;
    stage.ask(&ana).await.assert_allows("ana");
    assert_eq!(stage.host.end(stage.auth(), &api_sid, None).await, 200);
    assert_eq!(stage.ask(&ana).await.status, 401);
}

#[tokio::test]
async fn what_cannot_be_kept_is_said_and_nobody_is_let_in() {
    let host = EpixelHost::start(KEY).await.unwrap();
    let config = format!("[limits]\nsessions = 1\n{}", config(&host.url(), ""));
    let stage = Stage { keyward: Setup::new(&config).with_api().start().await, host };
    stage.signed_in("ana").await;
    let (token, _) = stage.host.mint("ben");
    let answer = stage.follow(&token, &[]).await;
    assert_eq!(answer.status, 503);
    assert_no_session(&answer);
}

#[test]
fn the_example_is_right() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/epixel/client.toml");
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_keyward")).args(["check", "-c", file]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("portal[mlm].apikey: is the one from the examples"), "{said}");
}
