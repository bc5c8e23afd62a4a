use serde_json::json;

use crate::fakes::openid_provider::{OpenIdProvider, SECRET};
use crate::stage::{Browser, COOKIE, MAIL, Stage, config, stage};
use crate::support::Setup;

#[tokio::test]
async fn somebody_signs_in_and_comes_back_to_where_they_wanted_to_go() {
    let stage = stage("").await;
    stage.provider.knows(
        "ana",
        json!({ "name": "Ana Example", "email": "ana@example.test", "realm_access": { "roles": ["admin"] } }),
    );
    let mut browser = Browser::default();
    let asked = stage.ask(&browser, "/mail/?folder=INBOX").await;
    assert_eq!((asked.status, asked.reason().as_str()), (401, "no_session"));
    let answer = stage.sign_in(&mut browser, "https://mail.example.test/mail/?folder=INBOX&x=%2F").await;
    assert_eq!((answer.status, answer.one("location").as_str()), (303, "/mail/?folder=INBOX&x=%2F"), "{answer:?}");
    assert_eq!((browser.session().map(String::len), browser.flows().len()), (Some(43), 0));
    let allowed = stage.ask(&browser, "/admin").await;
    allowed.assert_allows("ana");
    assert_eq!(allowed.one("remote-name"), "Ana Example");
    assert_eq!(allowed.one("remote-email"), "ana@example.test");
    assert_eq!(allowed.one("remote-groups"), "admin");
    assert_eq!(allowed.one("x-upstream-cookie"), "");
}

#[tokio::test]
async fn a_client_without_a_secret_signs_in_and_the_cookie_may_have_another_name() {
    let provider = OpenIdProvider::start(&[MAIL]).await.unwrap();
    provider.is_public();
    let config = config(&provider.issuer(), "cookie = \"__Secure-mine\"").replace("client_secret", "# client_secret");
    let stage = Stage { keyward: Setup::new(&config).start().await, provider };
    let mut browser = Browser::default();
    assert_eq!(stage.sign_in(&mut browser, "/").await.status, 303);
    assert_eq!(browser.jar.keys().collect::<Vec<_>>(), ["__Secure-mine"]);
    stage.ask(&browser, "/").await.assert_allows("ana");
}

#[tokio::test]
async fn nothing_but_a_navigation_begins_a_sign_in() {
    let stage = stage("").await;
    let mut browser = Browser::default();
    let login = "/.keyward/login/id?url=%2Fmail%2F";
    for lines in [
        &["Accept: application/json"][..],
        &["Accept: */*", "X-Requested-With: XMLHttpRequest"],
        &["Accept: */*", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"],
        &["Accept: image/avif,image/webp,*/*", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"],
    ] {
        let answer = stage.send(&mut browser, "GET", login, lines, "").await;
        assert_eq!((answer.status, answer.one("content-type").as_str()), (401, "application/json"), "{lines:?}");
        let told: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(told["reason"], "no_session");
        assert_eq!(told["login"], format!("{MAIL}{login}"));
    }
    let ahead = ["Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Purpose: prefetch;prerender"];
    assert_eq!(stage.send(&mut browser, "GET", login, &ahead, "").await.status, 503);
    for method in ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"] {
        let answer = stage.send(&mut browser, method, login, &["Accept: text/html"], "").await;
        assert_eq!((answer.status, answer.one("allow").as_str()), (405, "GET"), "{method}");
        assert!(answer.text().contains("/.keyward/login/id"), "it says what to do");
    }
    assert!(browser.jar.is_empty(), "{:?}", browser.jar);
    assert_eq!(stage.provider.asked("/openid-configuration"), 0);
}

#[tokio::test]
async fn several_tabs_sign_in_at_once_and_there_is_an_end_to_them() {
    let stage = stage("").await;
    let mut browser = Browser::default();
    let mut begun = Vec::new();
    for tab in 0..5 {
        begun.push(stage.begin(&mut browser, &format!("/tab/{tab}")).await);
    }
    assert_eq!(browser.flows().len(), 5);
    for (tab, address) in begun.iter().enumerate().rev() {
        let back = stage.provider.visit(address).unwrap();
        let answer = stage.go(&mut browser, &back).await;
        assert_eq!((answer.status, answer.one("location")), (303, format!("/tab/{tab}")), "{answer:?}");
        stage.ask(&browser, "/").await.assert_allows("ana");
    }
    for _ in 0..30 {
        stage.begin(&mut browser, "/").await;
    }
    assert_eq!(browser.flows().len(), 5);
    for number in 0..30 {
        browser.jar.insert(format!("{COOKIE}-flow-made{number:04}"), "up".to_owned());
    }
    for _ in 0..3 {
        stage.begin(&mut browser, "/").await;
    }
    assert!(browser.flows().len() <= 5, "{:?}", browser.flows());
    let upstream = stage.ask(&browser, "/").await.one("x-upstream-cookie");
    assert_eq!(upstream, "", "nothing of it goes upstream");
}

#[tokio::test]
async fn who_comes_back_goes_on_at_their_own_host_and_nowhere_else() {
    let stage = stage("").await;
    let mut tried = 0;
    for asked in strange_addresses() {
        let mut browser = Browser::default();
        let answer = stage.sign_in(&mut browser, &asked).await;
        let location = answer.one("location");
        let to = url::Url::parse(MAIL).unwrap().join(&location).unwrap();
        assert!(location.starts_with('/') && !location.starts_with("//"), "{asked:?} leads to {location:?}");
        assert!(!location.contains(['\\', '\r', '\n', '\t']), "{asked:?} leads to {location:?}");
        assert_eq!(to.origin().ascii_serialization(), MAIL, "{asked:?} leads to {location:?}");
        tried += 1;
    }
    assert!(tried > 300, "{tried}");
    let twice = stage.go(&mut Browser::default(), "/.keyward/login/id?url=%2Fa&url=%2Fb").await;
    assert_eq!((twice.status, twice.maybe("location")), (400, None));
}

/// Schemes, slashes, user-info, hosts and control characters in all orders that have fooled somebody.
fn strange_addresses() -> Vec<String> {
    let schemes = ["", "https:", "http:", "HTTPS:", "javascript:", "data:", "\thttps:", " https:"];
    let slashes = ["", "/", "//", "///", "/\\", "\\\\", "\\/", "/\t/", "/\r\n/", "/%09/", "/%5c", "/.//", "/..//"];
    let authorities = [
        "evil.test",
        "mail.example.test@evil.test/",
        "mail.example.test.evil.test/",
        "evil.test:443\\@mail.example.test/",
    ];
    let mut all = Vec::new();
    for scheme in schemes {
        for slash in slashes {
            all.extend(authorities.map(|authority| format!("{scheme}{slash}{authority}")));
        }
    }
    all.extend(
        ["", "?", "#", "javascript:alert(1)", "/\r\nSet-Cookie: a=b", "/%0d%0aSet-Cookie:a=b"].map(str::to_owned),
    );
    all.extend(["https://mail.example.test:8443/", "http://mail.example.test/", "/\u{fffd}"].map(str::to_owned));
    all.push(format!("/{}", "x".repeat(3000)));
    all
}

#[tokio::test]
async fn an_open_connection_signs_nobody_in_and_says_so() {
    let stage = stage("").await;
    let request = "GET /.keyward/login/id?url=%2F HTTP/1.1\r\nHost: mail.example.test\r\nAccept: text/html\r\n\r\n";
    let answer = stage.keyward.exchange(request).await;
    assert_eq!((answer.status, answer.all("set-cookie").len(), answer.maybe("location")), (500, 0, None));
    assert!(stage.keyward.log().contains("nobody can sign in over http with this cookie"));
}

#[tokio::test]
async fn what_people_are_told_is_in_their_language() {
    let stage = stage("").await;
    let german = ["Accept: text/html", "Accept-Language: de"];
    let address = "/.keyward/callback/id?state=0123456789abcdef&code=x";
    let answer = stage.send(&mut Browser::default(), "GET", address, &german, "").await;
    assert!(answer.status == 400 && answer.text().contains("Diese Anmeldung gilt nicht mehr"), "{answer:?}");
}

#[tokio::test]
async fn userinfo_says_who_it_is_where_it_is_to_and_only_of_the_same_person() {
    let stage = stage(
        "claims_from = [\"userinfo\"]\n[portal.members]\nuser = \"login\"\nroles = [\"https://example.test/groups\"]",
    )
    .await;
    stage.provider.knows("ana", json!({ "login": "ana@example.test", "https://example.test/groups": ["admin"] }));
    let browser = stage.signed_in("ana").await;
    stage.ask(&browser, "/admin").await.assert_allows("ana@example.test");
    for (claim, value) in [("sub", json!("somebody-else")), ("sub", json!(null)), ("login", json!(null))] {
        stage.provider.twist_userinfo(move |claims| claims[claim] = value.clone());
        let mut other = Browser::default();
        let answer = stage.sign_in(&mut other, "/").await;
        assert_eq!((answer.status, other.session()), (403, None), "{answer:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_verified_names_nobody() {
    let stage = stage("[portal.members]\nuser = [\"email\"]").await;
    for (verified, status) in [(json!(true), 303), (json!(false), 403), (json!("false"), 403), (json!("true"), 403)] {
        stage.provider.knows("ana", json!({ "email": "ana@example.test", "email_verified": verified }));
        let answer = stage.sign_in(&mut Browser::default(), "/").await;
        assert_eq!(answer.status, status, "{verified}");
    }
}

#[tokio::test]
async fn nothing_secret_is_logged() {
    let stage = stage("audiences = [\"api\"]").await;
    let mut browser = Browser::default();
    let begun = stage.begin(&mut browser, "/?q=in-the-query").await;
    let flow = browser.jar.values().next().unwrap().clone();
    let back = stage.provider.visit(&begun).unwrap();
    stage.go(&mut browser, &back).await;
    stage.ask(&browser, "/").await.assert_allows("ana");
    let shown = browser.session().unwrap().clone();
    let out = stage.send(&mut browser, "GET", "/.keyward/logout", &["Sec-Fetch-Site: same-origin"], "").await;
    let parameter = |address: &str, name: &str| {
        let address = url::Url::parse(address).unwrap();
        address.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    let log = stage.keyward.log();
    for secret in [
        SECRET.to_owned(),
        flow,
        shown,
        parameter(&begun, "state"),
        parameter(&begun, "nonce"),
        parameter(&back, "code"),
        parameter(&out.one("location"), "id_token_hint"),
        "in-the-query".to_owned(),
    ] {
        assert!(!log.contains(&secret), "{secret} is in\n{log}");
    }
}
