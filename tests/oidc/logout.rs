//! The ends of sessions, from either side.

use serde_json::{Value, json};

use crate::fakes::openid_provider::SigningKey;
use crate::stage::{Browser, MAIL, Stage, stage, target};
use crate::support::Answer;

const OUT: &str = "/.keyward/backchannel-logout/id";

/// A request of a server, which brings no cookies.
async fn post(stage: &Stage, body: &str) -> Answer {
    let lines = ["Content-Type: application/x-www-form-urlencoded"];
    stage.send(&mut Browser::default(), "POST", OUT, &lines, body).await
}

async fn call_off(stage: &Stage, claims: &Value) -> u16 {
    call_off_with(stage, &stage.provider.key().sign(claims)).await
}

async fn call_off_with(stage: &Stage, token: &str) -> u16 {
    let answer = post(stage, &format!("logout_token={token}")).await;
    assert_eq!(answer.one("cache-control"), "no-store");
    answer.status
}

#[tokio::test]
async fn who_signs_out_here_is_signed_out_at_the_provider() {
    let stage = stage("").await;
    let mut browser = stage.signed_in("ana").await;
    let lines = ["Sec-Fetch-Site: same-origin", "Accept: text/html"];
    let out = stage.send(&mut browser, "GET", "/.keyward/logout", &lines, "").await;
    assert_eq!(out.status, 303, "{out:?}");
    assert_eq!(stage.ask(&browser, "/").await.status, 401);
    let back = stage.provider.visit(&out.one("location")).unwrap();
    assert_eq!(stage.provider.sessions(), 0);
    assert_eq!(back, format!("{MAIL}/.keyward/signed-out/id"));
    let page = stage.go(&mut browser, target(&back)).await;
    assert!(page.status == 200 && page.text().contains("You are signed out"), "{page:?}");
}

#[tokio::test]
async fn after_sign_out_one_goes_on_to_an_allowed_address_and_to_no_other() {
    let allowed = "https://portal.example.test/bye";
    let provider_stage = stage("[logout]\nreturn_to = [\"https://portal.example.test/bye\"]").await;
    provider_stage.provider.allows_after_logout(allowed);
    for (asked, expected) in
        [(allowed, allowed.to_owned()), ("https://evil.test/", format!("{MAIL}/.keyward/signed-out/id"))]
    {
        let mut browser = provider_stage.signed_in("ana").await;
        let query: String = url::form_urlencoded::byte_serialize(asked.as_bytes()).collect();
        let path = format!("/.keyward/logout?post_logout_redirect_uri={query}");
        let out = provider_stage.send(&mut browser, "GET", &path, &["Sec-Fetch-Site: same-origin"], "").await;
        assert_eq!(provider_stage.provider.visit(&out.one("location")), Ok(expected), "{asked}");
    }
}

#[tokio::test]
async fn sign_out_may_leave_the_provider_alone() {
    let stage = stage("post_logout = \"here\"").await;
    let mut browser = stage.signed_in("ana").await;
    let out = stage.send(&mut browser, "GET", "/.keyward/logout", &["Sec-Fetch-Site: same-origin"], "").await;
    assert_eq!((out.status, stage.provider.sessions()), (200, 1));
    assert_eq!(stage.ask(&browser, "/").await.status, 401);
}

#[tokio::test]
async fn another_site_signs_nobody_out_and_its_visitor_may() {
    let stage = stage("").await;
    let mut browser = stage.signed_in("ana").await;
    let page = stage.send(&mut browser, "GET", "/.keyward/logout", &["Sec-Fetch-Site: cross-site"], "").await;
    assert_eq!(page.status, 200);
    stage.ask(&browser, "/").await.assert_allows("ana");
    // Browsers hold the whole chain of redirects against it.
    let provider = stage.provider.issuer().replace("/realms/mail", "");
    let policy = page.one("content-security-policy");
    assert!(policy.contains(&format!("form-action 'self' {provider}")), "{policy}");
}

#[tokio::test]
async fn the_provider_ends_a_session_by_its_name_and_all_of_somebody_by_theirs() {
    let stage = stage("").await;
    let ana = stage.signed_in("ana").await;
    let sid = stage.provider.sid();
    let (again, ben) = (stage.signed_in("ana").await, stage.signed_in("ben").await);
    assert_eq!(call_off(&stage, &stage.provider.logout_claims(Some("ben"), Some(&sid))).await, 200);
    stage.ask(&ana, "/").await.assert_allows("ana");
    assert_eq!(call_off(&stage, &stage.provider.logout_claims(Some("ana"), Some(&sid))).await, 200);
    assert_eq!(stage.ask(&ana, "/").await.status, 401);
    stage.ask(&again, "/").await.assert_allows("ana");
    stage.ask(&ben, "/").await.assert_allows("ben");
    let another = stage.signed_in("ana").await;
    assert_eq!(call_off(&stage, &stage.provider.logout_claims(Some("ana"), None)).await, 200);
    for browser in [&again, &another] {
        assert_eq!(stage.ask(browser, "/").await.status, 401);
    }
    stage.ask(&ben, "/").await.assert_allows("ben");
}

#[tokio::test]
async fn a_sign_in_under_way_ends_with_the_session_it_is_of() {
    let stage = stage("").await;
    let mut browser = Browser::default();
    let begun = stage.begin(&mut browser, "/").await;
    let back = stage.provider.visit(&begun).unwrap();
    let sid = stage.provider.sid();
    assert_eq!(call_off(&stage, &stage.provider.logout_claims(None, Some(&sid))).await, 200);
    let answer = stage.go(&mut browser, &back).await;
    assert_eq!((answer.status, browser.session()), (400, None), "{answer:?}");
}

#[tokio::test]
async fn a_logout_token_counts_once() {
    let stage = stage("").await;
    stage.signed_in("ana").await;
    let claims = stage.provider.logout_claims(Some("ana"), None);
    assert_eq!(call_off(&stage, &claims).await, 200);
    assert_eq!(call_off(&stage, &claims).await, 400);
    // Reading the configuration again makes nobody forget.
    stage.keyward.rewrite(&crate::stage::config(&stage.provider.issuer(), "session_lifetime = \"5h\""));
    stage.keyward.reload("applied").await;
    assert_eq!(call_off(&stage, &claims).await, 400);
}

#[tokio::test]
async fn a_logout_token_that_is_none_ends_nothing() {
    let stage = stage("").await;
    let browser = stage.signed_in("ana").await;
    let key = stage.provider.key();
    let good = || stage.provider.logout_claims(Some("ana"), None);
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let now = crate::support::now();
    let event = "http://schemas.openid.net/event/backchannel-logout";
    for claims in [
        without("iss"),
        without("aud"),
        without("iat"),
        without("jti"),
        without("events"),
        without("sub"),
        with("iss", json!(format!("{}/", stage.provider.issuer()))),
        with("aud", json!("another")),
        with("aud", json!(["another"])),
        with("aud", json!([1, "keyward"])),
        with("iat", json!(now + 3600)),
        with("iat", json!(now - 3600)),
        with("iat", json!(now.to_string())),
        with("exp", json!(now - 3600)),
        with("exp", json!("1")),
        with("exp", json!(1e300)),
        with("nbf", json!("99999999999")),
        with("nonce", json!("n")),
        with("nonce", json!(null)),
        with("jti", json!("")),
        with("jti", json!(7)),
        with("sub", json!("")),
        with("sub", json!(["ana"])),
        with("sid", json!(5)),
        with("events", json!([event])),
        with("events", json!(event)),
        with("events", json!({ "http://schemas.openid.net/event/other": {} })),
        with("events", json!({ event: true })),
    ] {
        assert_eq!(call_off(&stage, &claims).await, 400, "{claims}");
    }
    let mut header = key.header();
    header["typ"] = json!("at+jwt");
    for token in [
        SigningKey::rsa("first").sign(&good()),
        SigningKey::rsa("unknown").sign(&good()),
        SigningKey::elliptic("first").sign(&good()),
        key.sign_with(&header, &good()),
        key.sign_with(&json!({ "alg": "none" }), &good()),
        String::new(),
        "a.b.c".to_owned(),
    ] {
        assert_eq!(call_off_with(&stage, &token).await, 400, "{token}");
    }
    let token = key.sign(&good());
    for body in ["", "token=x", &format!("logout_token={token}&logout_token={token}")] {
        assert_eq!(post(&stage, body).await.status, 400, "{body}");
    }
    assert_eq!(
        stage.send(&mut Browser::default(), "GET", &format!("{OUT}?logout_token={token}"), &[], "").await.status,
        405
    );
    stage.ask(&browser, "/").await.assert_allows("ana");
    header["typ"] = json!("logout+jwt");
    assert_eq!(call_off_with(&stage, &key.sign_with(&header, &good())).await, 200);
    assert_eq!(stage.ask(&browser, "/").await.status, 401);
}
