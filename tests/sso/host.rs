//! Keyward is the host; the client services are stand-ins.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::fakes::epixel_client::{Behaviour, EpixelClient};
use super::fakes::server::{Reply, Request, forward};
use super::support::{Answer, Ask, Door, Setup, Sidecar, Ticket, until};
use super::{KEY, OTHER_KEY, assert_logs_hold_none, json, request, ticket_portal, told};

/// Two services: everybody may enter the shop, and who has the role `forum` the forum.
struct Stage {
    keyward: Sidecar,
    shop: EpixelClient,
    forum: EpixelClient,
}

async fn stage(more: &str) -> Stage {
    stage_of(&ticket_portal(), more).await
}

async fn stage_of(portal: &str, more: &str) -> Stage {
    let people = ["alice", "bob"].map(str::to_owned);
    let shop = EpixelClient::start(&people, KEY).await.unwrap();
    let forum = EpixelClient::start(&people, OTHER_KEY).await.unwrap();
    let setup = Setup::new(&config(portal, &shop, &forum, more)).environment("RUST_LOG", "trace");
    let keyward = setup.with_api().start().await;
    shop.at(keyward.api);
    forum.at(keyward.api);
    Stage { keyward, shop, forum }
}

pub fn config(portal: &str, shop: &EpixelClient, forum: &EpixelClient, more: &str) -> String {
    let backend = |name: &str, url: &str, key: &str, rest: &str| {
        format!(
            "[[backend]]\nname = \"{name}\"\nkind = \"epixel\"\nurl = \"{url}\"\ncredentials = \"none\"\n\
             {rest}\n[[backend.key]]\nsecret = \"{key}\"\n\
             [[route]]\nhost = \"{name}.example.test\"\nportal = \"office\"\nbackend = \"{name}\"\n"
        )
    };
    [
        portal,
        &backend("shop", &shop.url(), KEY, more),
        &backend("forum", &forum.url(), OTHER_KEY, ""),
        "roles = [\"forum\"]\n",
    ]
    .concat()
}

impl Stage {
    /// A page of the portal asks for a service in the person's name.
    async fn browser_asks(&self, cookie: &str, lines: &[&str], body: &str) -> Answer {
        let mut all = vec![format!("Cookie: {cookie}")];
        all.extend(lines.iter().map(|line| (*line).to_owned()));
        let target = "/sso/v1/service-request/";
        self.keyward.exchange(request("PUT", target, "portal.example.test", &all, body)).await
    }

    async fn login_url(&self, cookie: &str, service: &str) -> String {
        let body = json!({ "service": service }).to_string();
        let answer = self.browser_asks(cookie, &["Sec-Fetch-Site: same-origin"], &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        json(&answer)["url"].as_str().unwrap().to_owned()
    }

    /// The browser itself goes to a service.
    async fn browser_enters(&self, cookie: &str, service: &str) {
        let reply = visit(&self.login_url(cookie, service).await).await;
        assert_eq!(reply.status, 302, "{reply:?}");
    }

    async fn server_asks(&self, call: &str, lines: &[String], body: &str) -> Answer {
        let target = format!("/api/v1/sso/{call}");
        self.keyward.call(request("POST", &target, "host.example.test", lines, body)).await
    }

    async fn ask(&self, service: &str, cookie: &str) -> Answer {
        let ask = Ask::get(format!("https://{service}.example.test/")).cookie(cookie);
        self.keyward.ask(Door::AuthRequest, &ask).await
    }
}

/// Goes to an address at once, as a browser without cookies.
pub async fn visit(url: &str) -> Reply {
    let url = url::Url::parse(url).unwrap();
    let address: SocketAddr = format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap();
    let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    let headers = vec![("host".to_owned(), b"shop.example.test".to_vec())];
    forward(address, &Request { method: "GET".to_owned(), target, headers, body: Vec::new() }).await.unwrap()
}

pub fn token_of(url: &str) -> String {
    url.split_once("token=").unwrap().1.to_owned()
}

pub fn key(key: &str) -> Vec<String> {
    vec![format!("apikey: {key}")]
}

#[tokio::test]
async fn a_browser_is_led_into_a_service_once() {
    let stage = stage("").await;
    let cookie = Ticket::of("alice").cookie();
    let url = stage.login_url(&cookie, "shop").await;
    assert!(url.starts_with(&format!("{}/sso/epixel/login?token=", stage.shop.url())), "{url}");
    assert_eq!(visit(&url).await.status, 302);
    assert_eq!(stage.shop.users(), ["alice"]);
    assert_eq!(visit(&url).await.status, 401, "replayed");
    let words = stage.shop.words();
    assert_eq!((words[0].0, words[1].0, words[1].1["error"].as_str()), (200, 401, Some("invalid_token")));
    let left = words[0].1["expires_in"].as_u64().unwrap();
    assert!((3500..=3600).contains(&left), "as long as the ticket: {left}");
    let (api_sid, access) = (words[0].1["api_sid"].as_str().unwrap(), words[0].1["access"].as_str().unwrap());
    assert_logs_hold_none(&stage.keyward, &[&token_of(&url), api_sid, access, KEY]);
}

#[tokio::test]
async fn of_fifty_who_redeem_one_token_at_once_one_wins() {
    let stage = stage("").await;
    let token = token_of(&stage.login_url(&Ticket::of("alice").cookie(), "shop").await);
    let body = json!({ "token": token }).to_string();
    let calls = (0..50).map(|_| async {
        let answer = stage.server_asks("token-verify/", &key(KEY), &body).await;
        if answer.status == 200 { 200 } else { told(&answer).0 }
    });
    let mut statuses = futures_util::future::join_all(calls).await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1..].iter().all(|status| *status == 401)), (200, true), "{statuses:?}");
}

#[tokio::test]
async fn a_token_shown_with_another_services_key_is_burnt() {
    let stage = stage("").await;
    for (service, thief, own) in [("shop", OTHER_KEY, KEY), ("forum", KEY, OTHER_KEY)] {
        let cookie = Ticket::of("alice").roles(&["forum"]).cookie();
        let token = token_of(&stage.login_url(&cookie, service).await);
        for key_shown in [thief, own] {
            let answer =
                stage.server_asks("token-verify/", &key(key_shown), &json!({ "token": token }).to_string()).await;
            assert_eq!(told(&answer), (401, "invalid_token".to_owned()), "{service} {key_shown}");
        }
    }
}

#[tokio::test]
async fn a_token_ends_by_itself() {
    let stage = stage("token_lifetime = \"1ms\"").await;
    let cookie = Ticket::of("alice").cookie();
    let too_late = || async { visit(&stage.login_url(&cookie, "shop").await).await.status == 401 };
    until("a token that has ended on its way", too_late).await;
}

#[tokio::test]
async fn every_error_has_its_status_and_its_word() {
    let stage = stage("").await;
    stage.browser_enters(&Ticket::of("alice").cookie(), "shop").await;
    let known = stage.shop.api_sids().pop().unwrap();
    let unknown = "0123456789";
    for (call, key_shown, body, status, word) in [
        ("token-verify/", None, json!({"token": "t"}), 401, "invalid_apikey"),
        ("token-verify/", Some("wrong"), json!({"token": "t"}), 401, "invalid_apikey"),
        ("token-verify/", Some(KEY), json!({"token": "t"}), 401, "invalid_token"),
        ("token-verify", Some(KEY), json!({"token": "t"}), 401, "invalid_token"),
        ("token-verify/", Some(KEY), json!({"t": "t"}), 401, "invalid_token"),
        ("token-verify/", Some(KEY), json!({"tokens": "t"}), 400, "invalid_request"),
        ("token-verify/", Some(KEY), json!({"token": 7}), 400, "invalid_request"),
        ("token-verify/", Some(KEY), json!(["token"]), 400, "invalid_request"),
        ("login-acknowledgement/", None, json!({"api_sid": known}), 401, "invalid_apikey"),
        ("login-acknowledgement/", Some(KEY), json!({"api_sid": unknown}), 404, "unknown_session"),
        ("login-acknowledgement/", Some(OTHER_KEY), json!({"api_sid": known}), 404, "unknown_session"),
        ("login-acknowledgement/", Some(KEY), json!({}), 400, "invalid_request"),
        ("login-acknowledgement/", Some(KEY), json!({"api_sid": known, "status": "failed"}), 400, "invalid_request"),
        ("login-acknowledgement/", Some(KEY), json!({"session_id": known}), 200, ""),
        ("logout/", None, json!({"api_sid": known}), 401, "invalid_apikey"),
        ("logout/", Some(KEY), json!({}), 400, "invalid_request"),
        ("logout/", Some(KEY), json!({"api_sid": unknown}), 200, ""),
        ("logout/", Some(OTHER_KEY), json!({"api_sid": known}), 200, ""),
        ("service-request/", None, json!({"service": "shop", "api_sid": known}), 401, "invalid_apikey"),
        ("service-request/", Some(KEY), json!({"api_sid": known}), 400, "invalid_request"),
        ("service-request/", Some(KEY), json!({"service": "shop"}), 401, "not_authenticated"),
        ("service-request/", Some(KEY), json!({"service": "shop", "api_sid": unknown}), 401, "not_authenticated"),
        ("service-request/", Some(KEY), json!({"service": "none", "api_sid": known}), 404, "unknown_service"),
        ("service-request/", Some(KEY), json!({"service": "forum", "api_sid": known}), 403, "forbidden_service"),
        ("service-request/", Some(OTHER_KEY), json!({"service": "shop", "api_sid": known}), 401, "not_authenticated"),
    ] {
        let lines = key_shown.map(key).unwrap_or_default();
        let answer = stage.server_asks(call, &lines, &body.to_string()).await;
        assert_eq!(told(&answer), (status, word.to_owned()), "{call} {key_shown:?} {body}");
    }
    let twice = [key(KEY), key(KEY)].concat();
    let answer = stage.server_asks("logout/", &twice, &json!({"api_sid": known}).to_string()).await;
    assert_eq!(told(&answer), (401, "invalid_apikey".to_owned()), "the key twice");
    assert_eq!(told(&stage.server_asks("logout/", &key(KEY), "{").await), (400, "invalid_request".to_owned()));
    assert_eq!(stage.shop.users(), ["alice"], "nothing of it ended a session");
    // None of it is on the listener for browsers.
    let call = request("POST", "/api/v1/sso/token-verify/", "portal.example.test", &key(KEY), "{}");
    assert_eq!(stage.keyward.exchange(call).await.status, 404);
}

#[tokio::test]
async fn only_a_page_of_the_same_origin_asks_for_a_service() {
    let stage = stage("").await;
    let (cookie, body) = (Ticket::of("alice").cookie(), json!({"service": "shop"}).to_string());
    let forbidden = json!({"service": "forum"}).to_string();
    for (cookie, lines, body, status, word) in [
        (cookie.as_str(), &["Sec-Fetch-Site: same-origin"][..], body.as_str(), 200, ""),
        (&cookie, &["Origin: http://portal.example.test"], &body, 200, ""),
        (&cookie, &["Sec-Fetch-Site: cross-site", "Origin: http://portal.example.test"], &body, 403, "cross_site"),
        (&cookie, &["Sec-Fetch-Site: same-site"], &body, 403, "cross_site"),
        (&cookie, &["Origin: https://evil.test"], &body, 403, "cross_site"),
        (&cookie, &["Origin: null"], &body, 403, "cross_site"),
        (&cookie, &[], &body, 403, "cross_site"),
        ("office_session=forged", &["Sec-Fetch-Site: same-origin"], &body, 401, "not_authenticated"),
        ("a=b", &["Sec-Fetch-Site: same-origin"], &body, 401, "not_authenticated"),
        (&cookie, &["Sec-Fetch-Site: same-origin"], "{}", 400, "invalid_request"),
        (&cookie, &["Sec-Fetch-Site: same-origin"], "", 400, "invalid_request"),
        (&cookie, &["Sec-Fetch-Site: same-origin"], "{\"service\":\"none\"}", 404, "unknown_service"),
        (&cookie, &["Sec-Fetch-Site: same-origin"], &forbidden, 403, "forbidden_service"),
    ] {
        let answer = stage.browser_asks(cookie, lines, body).await;
        assert_eq!(told(&answer), (status, word.to_owned()), "{lines:?} {body}");
    }
}

#[tokio::test]
async fn a_service_leads_its_people_on_into_another() {
    let stage = stage("").await;
    let cookie = Ticket::of("alice").roles(&["forum"]).cookie();
    stage.browser_enters(&cookie, "shop").await;
    let api_sid = stage.shop.api_sids().pop().unwrap();
    let access = stage.shop.words()[0].1["access"].as_str().unwrap().to_owned();
    let bearer = |access: &str| [key(KEY), vec![format!("Authorization: Bearer {access}")]].concat();
    let by_sid = json!({"service": "forum", "api_sid": api_sid});
    let by_token = json!({"service": "forum"});
    for (lines, body) in [(key(KEY), &by_sid), (bearer(&access), &by_token), (bearer(&access), &by_sid)] {
        let answer = stage.server_asks("service-request/", &lines, &body.to_string()).await;
        let url = json(&answer)["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(&stage.forum.url()), "{url}");
        assert_eq!(visit(&url).await.status, 302);
    }
    assert_eq!(stage.forum.users(), ["alice"; 3]);
    let other = json!({"service": "forum", "api_sid": "another"});
    for (lines, body) in [(bearer(&access), &other), (bearer(&format!("{access}x")), &by_token)] {
        let answer = stage.server_asks("service-request/", &lines, &body.to_string()).await;
        assert_eq!(told(&answer), (401, "not_authenticated".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn whoever_signs_out_is_signed_out_of_every_service() {
    let stage = stage("").await;
    let (alice, bob) = (Ticket::of("alice").roles(&["forum"]).cookie(), Ticket::of("bob").cookie());
    stage.ask("shop", &alice).await.assert_allows("alice");
    stage.ask("shop", &bob).await.assert_allows("bob");
    stage.browser_enters(&alice, "shop").await;
    stage.browser_enters(&alice, "forum").await;
    assert_eq!((stage.shop.users().len(), stage.forum.users().len()), (3, 1));
    assert_eq!(stage.keyward.get("/.keyward/logout", &[&format!("Cookie: {alice}")]).await.status, 200);
    until("the end of her sessions", || async { stage.shop.users() == ["bob"] && stage.forum.users().is_empty() })
        .await;
    assert_eq!((stage.shop.ended().len(), stage.forum.ended().len()), (2, 1), "each is ended once");
}

#[tokio::test]
async fn a_service_signs_its_person_out_of_everything_and_is_not_called_back() {
    let stage = stage("").await;
    let cookie = Ticket::of("alice").roles(&["forum"]).cookie();
    stage.ask("shop", &cookie).await.assert_allows("alice");
    let held = stage.shop.api_sids().pop().unwrap();
    stage.browser_enters(&cookie, "forum").await;
    stage.browser_enters(&cookie, "shop").await;
    let by_browser = stage.shop.api_sids().pop().unwrap();
    assert_ne!(held, by_browser);
    assert_eq!(stage.shop.sign_out(&by_browser).await, 200);
    until("the end", || async { stage.shop.users().is_empty() && stage.forum.users().is_empty() }).await;
    assert_eq!(stage.shop.ended(), [held], "not of the one that it ended itself");
    assert_eq!(stage.ask("shop", &cookie).await.reason(), "revoked");
    assert_eq!(stage.shop.sign_out(&by_browser).await, 200, "once more");
    let answer = stage.browser_asks(&cookie, &["Sec-Fetch-Site: same-origin"], "{\"service\":\"shop\"}").await;
    assert_eq!(told(&answer), (401, "not_authenticated".to_owned()));
}

#[tokio::test]
async fn the_keys_that_keyward_holds_are_a_session_of_the_service() {
    let stage = stage("").await;
    let ticket = Ticket::of("alice").cookie();
    let answer = stage.ask("shop", &ticket).await;
    answer.assert_allows("alice");
    assert_eq!(stage.ask("shop", &ticket).await.one("X-Upstream-Cookie"), answer.one("X-Upstream-Cookie"));
    assert!(answer.one("X-Upstream-Cookie").contains("sessionid="), "{answer:?}");
    assert_eq!(stage.shop.users(), ["alice"]);
    let entered = stage.shop.requests().into_iter().find(|request| request.path().ends_with("/login")).unwrap();
    let cookie = answer.one("X-Upstream-Cookie").split_once("sessionid=").unwrap().1.to_owned();
    assert!(stage.keyward.log().contains("\"DEBUG\""), "it says all it can");
    assert_logs_hold_none(&stage.keyward, &[&token_of(&entered.target), &stage.shop.api_sids()[0], &cookie, KEY]);
    let refused = stage.ask("shop", &Ticket::of("nobody").cookie()).await;
    assert_eq!((refused.status, refused.reason()), (403, "credentials_refused".to_owned()));
}

#[tokio::test]
async fn a_login_is_one_only_if_the_service_asked_the_host() {
    let waiting = "wait_for_acknowledgement = true\nlogin_timeout = \"2s\"";
    for (settings, behaviour, status, sessions) in [
        ("", Behaviour::AsksNobody, 503, 1),
        ("", Behaviour::NoCookie, 503, 0),
        ("", Behaviour::FailsAfterAsking, 503, 0),
        ("", Behaviour::EndsAtOnce, 401, 1),
        ("", Behaviour::AsksTwice, 200, 1),
        ("", Behaviour::NeverAcknowledges, 200, 1),
        ("", Behaviour::OtherSpelling, 200, 1),
        (waiting, Behaviour::Documented, 200, 1),
        (waiting, Behaviour::OtherSpelling, 200, 1),
        (waiting, Behaviour::NeverAcknowledges, 503, 1),
    ] {
        let stage = stage(settings).await;
        stage.shop.behave(behaviour);
        let cookie = Ticket::of("alice").cookie();
        let answer = stage.ask("shop", &cookie).await;
        assert_eq!(answer.status, status, "{behaviour:?}: {answer:?}");
        assert_eq!(stage.shop.users().len(), sessions, "{behaviour:?}");
        let words: Vec<u16> = stage.shop.words().iter().map(|(status, _)| *status).collect();
        if behaviour == Behaviour::AsksTwice {
            assert_eq!(words, [200, 401]);
        }
        if behaviour == Behaviour::NeverAcknowledges {
            // Given up or not, it ends with the portal's session.
            stage.keyward.get("/.keyward/logout", &[&format!("Cookie: {cookie}")]).await;
            until("its end", || async { stage.shop.users().is_empty() }).await;
        }
    }
}

#[tokio::test]
async fn names_and_paths_are_the_operators() {
    let settings = "api_prefix = \"/backoffice/api\"\nversion = \"2\"\nsso_prefix = \"/enter\"\nservice = \"store\"\n\
                    login_url = \"https://shop.example.test/in?lang=de\"\ntoken_parameter = \"t\"\n\
                    [backend.names]\nurl = [\"redirect_url\"]\ntoken = [\"code\"]\naccess = [\"access_token\"]\n\
                    [backend.claims]\nlogin = \"preferred_username\"\nroles = \"\"\n";
    let stage = stage(settings).await;
    let lines = [format!("Cookie: {}", Ticket::of("alice").cookie()), "Sec-Fetch-Site: same-origin".to_owned()];
    let body = "{\"service\":\"store\"}";
    let asked = request("PUT", "/enter/2/service-request/", "portal.example.test", &lines, body);
    let answer = stage.keyward.exchange(asked).await;
    let url = json(&answer)["redirect_url"].as_str().unwrap().to_owned();
    let token = url.strip_prefix("https://shop.example.test/in?lang=de&t=").unwrap_or_else(|| panic!("{url}"));
    let body = json!({ "code": token }).to_string();
    let verify = request("POST", "/backoffice/api/2/sso/token-verify/", "host.example.test", &key(KEY), &body);
    let word = json(&stage.keyward.call(verify).await);
    let claims = keyward::wire::claims(word["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((claims["preferred_username"].as_str(), claims["aud"].as_str()), (Some("alice"), Some("store")));
    assert!(claims.get("roles").is_none() && claims.get("username").is_none(), "{claims}");
    assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() == 300, "{claims}");
    assert_ne!(word["api_sid"], Value::Null);
}

#[tokio::test]
async fn sessions_of_a_service_end_with_each_other_also_after_its_settings_have_changed() {
    for by_service in [true, false] {
        let stage = stage("").await;
        let cookie = Ticket::of("alice").roles(&["forum"]).cookie();
        stage.browser_enters(&cookie, "shop").await;
        let api_sid = stage.shop.api_sids().pop().unwrap();
        let changed = config(&ticket_portal(), &stage.shop, &stage.forum, "login_timeout = \"3s\"");
        stage.keyward.rewrite(&changed);
        stage.keyward.reload("applied").await;
        if by_service {
            assert_eq!(stage.shop.sign_out(&api_sid).await, 200);
            assert_eq!(stage.ask("shop", &cookie).await.reason(), "revoked");
        } else {
            assert_eq!(stage.keyward.get("/.keyward/logout", &[&format!("Cookie: {cookie}")]).await.status, 200);
            until("the end of her session", || async { stage.shop.users().is_empty() }).await;
        }
    }
}

#[tokio::test]
async fn whoever_has_lost_a_role_is_not_led_on_by_a_service_that_knew_them_with_it() {
    let portal = format!(
        "[[api.key]]\ncaller = \"office\"\nsecret = \"{KEY}\"\n[[portal]]\nname = \"office\"\nkind = \"registered\"\n\
         cookie = \"office\"\nlogin_url = \"https://portal.example.test/?next={{url}}\"\n"
    );
    for (then, status) in [
        (json!({"user": "alice", "roles": [], "expires": 4_000_000_000_u64}), 403),
        (json!({"user": "bob", "roles": ["forum"], "expires": 4_000_000_000_u64}), 401),
        (json!({"user": "alice", "roles": ["forum"], "expires": 4_000_000_001_u64}), 200),
    ] {
        let stage = stage_of(&portal, "").await;
        let register = async |told: &Value| {
            let lines = [format!("Authorization: Bearer {KEY}"), "Content-Type: application/json".to_owned()];
            let told = request("PUT", "/v1/sessions/a-session-of-the-office", "api", &lines, &told.to_string());
            stage.keyward.call(told).await.status
        };
        let first = json!({"user": "alice", "roles": ["forum"], "expires": 4_000_000_000_u64});
        assert_eq!(register(&first).await, 201);
        stage.browser_enters("office=a-session-of-the-office", "shop").await;
        let api_sid = stage.shop.api_sids().pop().unwrap();
        assert_eq!(register(&then).await, 204);
        let body = json!({"service": "forum", "api_sid": api_sid}).to_string();
        let answer = stage.server_asks("service-request/", &key(KEY), &body).await;
        assert_eq!(answer.status, status, "{then}");
        until("the end of what is not theirs", || async { stage.shop.users().is_empty() == (status == 401) }).await;
    }
}
