//! What the provider, or somebody in its place, may send and what nothing may follow from.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::{Value, json};

use crate::fakes::openid_provider::{OpenIdProvider, SigningKey, Twist};
use crate::fakes::server::{Fault, Reply};
use crate::stage::{Browser, COOKIE, Stage, stage};
use crate::support::{Answer, now};

type Change = (&'static str, Twist);

fn change(what: &'static str, twist: impl Fn(&mut Value) + Send + Sync + 'static) -> Change {
    (what, std::sync::Arc::new(twist))
}

fn set(what: &'static str, name: &'static str, value: Value) -> Change {
    change(what, move |claims| claims[name] = value.clone())
}

fn without(name: &'static str) -> Change {
    change(name, move |claims| {
        claims.as_object_mut().unwrap().remove(name);
    })
}

fn assert_nobody_is_signed_in(answer: &Answer, browser: &Browser, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
    assert!(answer.maybe("location").is_none() && browser.session().is_none(), "{what}: {answer:?}");
    assert_eq!(browser.flows(), [""; 0], "{what}: the sign-in is over");
    assert!(answer.one("content-security-policy").starts_with("default-src 'none'"), "{what}");
}

#[tokio::test]
async fn an_id_token_with_one_thing_wrong_signs_nobody_in() {
    let stage = stage("claims_from = [\"id-token\"]").await;
    let issuer = stage.provider.issuer();
    let soon = now() + 3600;
    let flaws = [
        without("iss"),
        without("aud"),
        without("exp"),
        without("iat"),
        without("nonce"),
        without("sub"),
        without("preferred_username"),
        set("a slash more", "iss", json!(format!("{issuer}/"))),
        set("other letters", "iss", json!(issuer.to_uppercase())),
        set("a list", "iss", json!([issuer])),
        set("another client", "aud", json!("other")),
        set("no client", "aud", json!([])),
        set("a part of ours", "aud", json!("keywar")),
        set("an object", "aud", json!({ "keyward": true })),
        set("mixed", "aud", json!(["keyward", 1])),
        change("several without a party", |claims| {
            claims["aud"] = json!(["keyward", "other"]);
            claims.as_object_mut().unwrap().remove("azp");
        }),
        set("another party", "azp", json!("other")),
        set("no text", "azp", json!(null)),
        set("ended", "exp", json!(now() - 120)),
        set("a text", "exp", json!(soon.to_string())),
        set("one", "exp", json!("1")),
        set("too large", "exp", json!(1e300)),
        set("negative", "exp", json!(-1)),
        set("null", "exp", json!(null)),
        set("true", "exp", json!(true)),
        set("tomorrow", "iat", json!(soon)),
        set("a text", "iat", json!("1")),
        set("later", "nbf", json!(soon)),
        set("a text", "nbf", json!("99999999999")),
        set("another", "nonce", json!("another")),
        set("a list", "nonce", json!(["n"])),
        set("another token's", "at_hash", json!("MTIzNDU2Nzg5MDEyMzQ1Ng")),
        set("no text", "at_hash", json!(7)),
        set("empty", "sub", json!("")),
        set("a number", "sub", json!(7)),
        set("long", "sub", json!("x".repeat(256))),
        set("empty", "sid", json!("")),
        set("a number", "sid", json!(7)),
        set("a logout token's", "events", json!({})),
        set("a line break", "preferred_username", json!("ana\nben")),
        set("a blank", "preferred_username", json!(" ana")),
        set("a list", "preferred_username", json!(["ana"])),
        set("empty", "preferred_username", json!("")),
        set("two domains", "email", json!("x@evil.test@example.test")),
        set("a list", "email", json!(["ana@example.test"])),
        set("a text", "realm_access", json!({ "roles": "admin" })),
        set("no text in it", "realm_access", json!({ "roles": ["user", 7] })),
        set("an empty one in it", "realm_access", json!({ "roles": ["user", ""] })),
    ];
    for (what, twist) in flaws {
        stage.provider.twist_id_claims(move |claims| twist(claims));
        let mut browser = Browser::default();
        let answer = stage.sign_in(&mut browser, "/").await;
        assert_nobody_is_signed_in(&answer, &browser, what);
    }
    stage.provider.behaves();
    stage.signed_in("ana").await;
}

#[tokio::test]
async fn what_is_right_in_another_way_is_right() {
    let stage = stage("").await;
    for (what, twist) in [
        set("a list of one", "aud", json!(["keyward"])),
        set("several, with a party", "aud", json!(["other", "keyward"])),
        set("a fraction", "iat", json!(1_700_000_000.5)),
        set("a little late", "exp", json!(now() - 30)),
        set("a little early", "iat", json!(now() + 30)),
        without("azp"),
        without("at_hash"),
        without("sid"),
    ] {
        stage.provider.twist_id_claims(move |claims| twist(claims));
        let mut browser = Browser::default();
        assert_eq!(stage.sign_in(&mut browser, "/").await.status, 303, "{what}");
    }
}

#[tokio::test]
async fn the_algorithm_is_ours_to_choose() {
    let stage = stage("").await;
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "nOnE", "kid": "first" }),
        json!({ "alg": "HS256", "kid": "first" }),
        json!({ "alg": "HS256", "kid": "shared" }),
        json!({ "alg": "RS512", "kid": "first" }),
        json!({ "alg": "ES256", "kid": "first" }),
        json!({ "alg": "rs256", "kid": "first" }),
        json!({ "alg": ["RS256"], "kid": "first" }),
        json!({ "alg": "RS256", "kid": "first", "crit": ["exp"] }),
        json!({ "alg": "RS256", "kid": ["first"] }),
        json!({ "alg": "RS256", "kid": "first", "typ": "logout+jwt" }),
        json!({ "alg": "RS256", "kid": "first", "typ": 1 }),
        json!({ "alg": "RS256", "kid": "first", "typ": "at+jwt" }),
    ] {
        let what = header.to_string();
        stage.provider.twist_id_header(move |held| held.clone_from(&header));
        let mut browser = Browser::default();
        let answer = stage.sign_in(&mut browser, "/").await;
        assert_nobody_is_signed_in(&answer, &browser, &what);
    }
    // The provider's own word for a key that it does not publish says nothing of the person.
    for kid in ["encrypts", "../first"] {
        stage.provider.twist_id_header(move |header| header["kid"] = json!(kid));
        let mut browser = Browser::default();
        let answer = stage.sign_in(&mut browser, "/").await;
        assert_eq!((answer.status, browser.session()), (503, None), "{kid}");
    }
    // Signed by a good key of a kind that the configuration does not list.
    stage.provider.behaves();
    stage.provider.rotate(SigningKey::elliptic("elliptic"));
    let mut browser = Browser::default();
    let answer = stage.sign_in(&mut browser, "/").await;
    assert_nobody_is_signed_in(&answer, &browser, "ES256");
}

#[tokio::test]
async fn every_listed_algorithm_signs_in_and_a_key_without_a_name_does() {
    let stage = stage("algorithms = [\"ES256\"]").await;
    stage.provider.rotate(SigningKey::elliptic("elliptic"));
    stage.signed_in("ana").await;
    stage.provider.twist_id_header(|header| {
        header.as_object_mut().unwrap().remove("kid");
    });
    stage.signed_in("ana").await;
}

#[tokio::test]
async fn keys_are_fetched_when_they_are_exchanged_and_not_for_every_token_that_names_another() {
    let stage = stage("").await;
    let first = stage.provider.key();
    stage.signed_in("ana").await;
    assert_eq!(stage.provider.asked("/certs"), 1);
    let claims = stage.provider.logout_claims(Some("ben"), None);
    let posts = (0..200).map(|number| {
        let token = first.sign_with(&json!({ "alg": "RS256", "kid": format!("random-{number}") }), &claims);
        let (stage, body) = (&stage, format!("logout_token={token}"));
        async move {
            let door = "/.keyward/backchannel-logout/id";
            stage.send(&mut Browser::default(), "POST", door, &[], &body).await.status
        }
    });
    assert!(join_all(posts).await.iter().all(|status| *status == 400));
    assert!(stage.provider.asked("/certs") <= 2, "{}", stage.provider.asked("/certs"));
    stage.provider.rotate(SigningKey::rsa("second"));
    crate::support::until("the new key is known", || async {
        let mut browser = Browser::default();
        stage.sign_in(&mut browser, "/").await.status == 303
    })
    .await;
    assert!(stage.provider.asked("/certs") <= 3);
    // Some providers give every key the same name.
    stage.provider.rotate(SigningKey::rsa("second"));
    stage.signed_in("ana").await;
    // What the old key signs is worth nothing any more.
    let body = format!("logout_token={}", first.sign(&stage.provider.logout_claims(Some("ana"), None)));
    let answer = stage.send(&mut Browser::default(), "POST", "/.keyward/backchannel-logout/id", &[], &body).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn an_answer_of_another_provider_or_for_another_browser_signs_nobody_in() {
    let stage = stage("").await;
    let issuer: String = url::form_urlencoded::byte_serialize(stage.provider.issuer().as_bytes()).collect();
    for query in [
        "code=x&state={state}&iss=https%3A%2F%2Fevil.test".to_owned(),
        "code=x&state={state}".to_owned(),
        format!("code=x&state={{state}}&iss={issuer}%2F"),
        format!("state={{state}}&iss={issuer}&error=access_denied"),
        format!("state={{state}}&iss={issuer}&error=login_required"),
        format!("state={{state}}&iss={issuer}&error=%3Cscript%3E&error_description=%3Cscript%3E"),
        format!("code=made-up&state={{state}}&iss={issuer}"),
    ] {
        stage.provider.answers_authorize(Some(&query));
        let mut browser = Browser::default();
        let answer = stage.sign_in(&mut browser, "/mail/").await;
        assert_nobody_is_signed_in(&answer, &browser, &query);
        assert!(!answer.text().contains("script"), "{answer:?}");
        assert!(answer.text().contains("/.keyward/login/id?url=%2Fmail%2F"), "there is a way to try again");
    }
    stage.provider.behaves();
    let (mut mallory, mut ana) = (Browser::default(), Browser::default());
    let begun = stage.begin(&mut mallory, "/").await;
    let back = stage.provider.visit(&begun).unwrap();
    stage.begin(&mut ana, "/").await;
    let answer = stage.go(&mut ana, &back).await;
    assert!(answer.status == 400 && ana.session().is_none(), "{answer:?}");
    let answer = stage.go(&mut Browser::default(), &back).await;
    assert!(answer.status == 400 && answer.text().contains("/.keyward/login/id"), "{answer:?}");
    assert_eq!(stage.go(&mut mallory, &back).await.status, 303, "its own browser may");
}

/// What a token says of its own key is anybody's word.
#[tokio::test]
async fn the_key_is_the_providers_and_none_that_the_token_brings() {
    let stage = stage("audiences = [\"mail-api\"]").await;
    let evil = SigningKey::rsa("first");
    let server = crate::fakes::server::Server::start(|_| async { Reply::new(404, "") }).await.unwrap();
    let claims = stage.provider.access_claims("ana", "mail-api");
    for (name, value) in [
        ("jwk", evil.jwk()),
        ("jku", json!(format!("{}/certs", server.url()))),
        ("x5u", json!(format!("{}/certs", server.url()))),
        ("x5c", json!(["MIIB"])),
    ] {
        let mut header = evil.header();
        header[name] = value;
        let token = evil.sign_with(&header, &claims);
        let ask = crate::support::Ask::get(format!("{}/api", crate::stage::MAIL))
            .header("Authorization", format!("Bearer {token}"));
        assert_eq!(stage.keyward.ask(crate::support::Door::AuthRequest, &ask).await.status, 401, "{name}");
    }
    assert!(server.requests().is_empty(), "nobody is asked");
}

#[tokio::test]
async fn a_key_set_that_is_none_vouches_for_nobody() {
    for (what, keys) in [
        ("no list", json!({})),
        ("no objects", json!([1, null, "x", []])),
        ("numbers", json!([{ "kty": 1, "kid": 2, "n": 3, "e": 4 }])),
        ("a short key", json!([{ "kty": "RSA", "kid": "first", "n": "AQAB", "e": "AQAB" }])),
        ("many", json!(vec![json!({ "kty": "RSA", "kid": "x", "n": "AQAB", "e": "AQAB" }); 10_000])),
        ("of 5 MB", json!([{ "kty": "oct", "k": "x".repeat(5 << 20) }])),
    ] {
        let stage = stage("").await;
        stage.provider.publishes(Some(keys));
        let mut browser = Browser::default();
        let answer = stage.sign_in(&mut browser, "/").await;
        assert!((400..=503).contains(&answer.status) && browser.session().is_none(), "{what}: {answer:?}");
        stage.provider.publishes(None);
        crate::support::until("it is right again", || async {
            let mut browser = Browser::default();
            let begun = stage.go(&mut browser, "/.keyward/login/id?url=%2F").await;
            let Some(address) = begun.maybe("location") else { return false };
            stage.go(&mut browser, &stage.provider.visit(&address).unwrap()).await.status == 303
        })
        .await;
    }
}

#[tokio::test]
async fn two_sign_ins_of_one_browser_do_not_mix() {
    let stage = stage("").await;
    let mut browser = Browser::default();
    let begun = [stage.begin(&mut browser, "/one").await, stage.begin(&mut browser, "/two").await];
    let [one, two] = begun.map(|begun| stage.provider.visit(&begun).unwrap());
    let part = |back: &str, name: &str| {
        let (_, query) = back.split_once('?').unwrap();
        query.split('&').find(|pair| pair.starts_with(&format!("{name}="))).unwrap().to_owned()
    };
    // The code of one under the state of the other: PKCE has it fail at the provider.
    let mixed = one.replace(&part(&one, "code"), &part(&two, "code"));
    let mut thief = browser.clone();
    let answer = stage.go(&mut thief, &mixed).await;
    assert_eq!((answer.status, thief.session()), (400, None), "{answer:?}");
    // The cookie of one under the name of the other's.
    let flows = browser.flows();
    let mut tossed = browser.clone();
    let values: Vec<String> = flows.iter().map(|name| browser.jar[name].clone()).collect();
    tossed.jar.insert(flows[0].clone(), values[1].clone());
    tossed.jar.insert(flows[1].clone(), values[0].clone());
    for back in [&one, &two] {
        assert_eq!(stage.go(&mut tossed.clone(), back).await.status, 400);
    }
    assert_eq!(stage.go(&mut browser, &one).await.one("location"), "/one");
}

#[tokio::test]
async fn the_answer_for_one_portal_is_none_for_another_at_the_same_host() {
    let other = OpenIdProvider::start(&[crate::stage::MAIL]).await.unwrap();
    let provider = OpenIdProvider::start(&[crate::stage::MAIL]).await.unwrap();
    let config = format!(
        "[[route]]\nhost = \"mail.example.test\"\npath = \"/other\"\nportal = \"other\"\n{}\
         [[portal]]\nname = \"other\"\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"keyward\"\n",
        crate::stage::config(&provider.issuer(), ""),
        other.issuer()
    );
    let stage = Stage { keyward: crate::support::Setup::new(&config).start().await, provider };
    let mut browser = Browser::default();
    let begun = stage.begin(&mut browser, "/").await;
    let back = stage.provider.visit(&begun).unwrap();
    let swapped = back.replace("/callback/id", "/callback/other");
    let answer = stage.go(&mut browser.clone(), &swapped).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    // Nor with its cookie under the other's name.
    let mut tossed = browser.clone();
    for name in browser.flows() {
        tossed.jar.insert(name.replace("keyward-id", "keyward-other"), browser.jar[&name].clone());
    }
    assert_eq!(stage.go(&mut tossed, &swapped).await.status, 400);
    assert_eq!(other.asked("/token"), 0, "no code goes to the wrong provider");
    assert_eq!(stage.go(&mut browser, &back).await.status, 303);
    let mut as_other = Browser::default();
    as_other.jar.insert("__Host-keyward-other".to_owned(), browser.session().unwrap().clone());
    assert_eq!(stage.ask(&as_other, "/other").await.status, 401, "nor is a session");
    assert_eq!(stage.ask(&as_other, "/").await.status, 401);
}

#[tokio::test]
async fn a_state_counts_once() {
    let stage = stage("").await;
    let mut browser = Browser::default();
    let begun = stage.begin(&mut browser, "/").await;
    let mut before = browser.clone();
    let back = stage.provider.visit(&begun).unwrap();
    assert_eq!(stage.go(&mut browser, &back).await.status, 303);
    let tokens = stage.provider.asked("/token");
    let answer = stage.go(&mut before, &back).await;
    assert_eq!((answer.status, before.session()), (400, None));
    assert_eq!(stage.provider.asked("/token"), tokens, "the provider is not asked");
    stage.ask(&browser, "/").await.assert_allows("ana");
}

#[tokio::test]
async fn a_callback_with_something_twice_or_missing_is_no_callback() {
    let stage = stage("").await;
    let mut browser = Browser::default();
    let begun = stage.begin(&mut browser, "/").await;
    let back = stage.provider.visit(&begun).unwrap();
    let (path, query) = back.split_once('?').unwrap();
    let only = |name: &str| query.split('&').find(|pair| pair.starts_with(&format!("{name}="))).unwrap().to_owned();
    let [code, state, iss] = ["code", "state", "iss"].map(only);
    for query in [
        String::new(),
        code.clone(),
        state.clone(),
        format!("{code}&{state}&{iss}&{state}"),
        format!("state=bad&{code}&{state}&{iss}"),
        format!("{code}&{state}&{iss}&state=bad"),
        format!("{code}&{code}&{state}&{iss}"),
        format!("{code}&{state}&{iss}&iss=https%3A%2F%2Fevil.test"),
        format!("{code}&{state}&{iss}&error=access_denied"),
        format!("{state}&{iss}&error=a&error=b"),
    ] {
        let answer = stage.go(&mut browser.clone(), &format!("{path}?{query}")).await;
        assert_eq!((answer.status, answer.all("set-cookie").len()), (400, 0), "{query}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = stage.send(&mut browser.clone(), method, &back, &[], "").await;
        assert_eq!(answer.status, 405, "{method}");
    }
    assert_eq!(stage.go(&mut browser, &back).await.status, 303);
}

#[tokio::test]
async fn a_session_from_before_is_not_kept() {
    let stage = stage("").await;
    let mut planted = stage.signed_in("mallory").await;
    let old = planted.clone();
    stage.provider.signs_in("ana");
    assert_eq!(stage.sign_in(&mut planted, "/").await.status, 303);
    assert_ne!(planted.session(), old.session());
    stage.ask(&planted, "/").await.assert_allows("ana");
    assert_eq!(stage.ask(&old, "/").await.status, 401, "the old one is dead");
    let mut both = planted.clone();
    both.jar.insert(COOKIE.to_owned(), "x".repeat(43));
    assert_eq!(stage.ask(&both, "/").await.status, 401);
    let mut made_up = Browser::default();
    made_up.jar.insert(COOKIE.to_owned(), "made-up-by-somebody".to_owned());
    assert_eq!(stage.sign_in(&mut made_up, "/").await.status, 303);
    assert_ne!(made_up.session().unwrap(), "made-up-by-somebody");
}

#[tokio::test]
async fn a_strange_answer_of_the_token_endpoint_is_never_yes() {
    let token = |answer: &Value| Reply::json(200, answer);
    let replies = [
        Reply::new(200, ""),
        Reply::new(204, ""),
        Reply::html(200, "<p>Sign in</p>"),
        token(&json!(null)),
        token(&json!({})),
        token(&json!({ "access_token": "a" })),
        token(&json!({ "access_token": "a", "token_type": "Bearer" })),
        token(&json!({ "access_token": "a", "token_type": "mac", "id_token": "a.b.c" })),
        token(&json!({ "access_token": "a", "token_type": "Bearer", "id_token": "a.b.c" })),
        token(&json!({ "access_token": "a", "token_type": "Bearer", "id_token": "", "expires_in": "soon" })),
        token(&json!({ "access_token": "a", "token_type": "Bearer", "id_token": null, "expires_in": u64::MAX })),
        Reply::new(302, "").with("Location", "/login"),
        Reply::json(400, &json!({ "error": "invalid_grant" })),
        Reply::json(401, &json!({ "error": "invalid_client" })),
        Reply::json(400, &json!({ "error": "server_error" })),
        Reply::json(500, &json!({ "access_token": "a" })),
        Reply::json(200, &json!({ "error": "invalid_grant" })),
        Reply::json(
            200,
            &json!({ "access_token": "a", "token_type": "Bearer", "expires_in": -1, "id_token": "a.b.c" }),
        ),
        Reply::json(200, &json!({ "access_token": "x".repeat(5 << 20), "token_type": "Bearer", "id_token": "a.b.c" })),
    ];
    // A provider of its own for each: one that fails is left alone for a while.
    let one = |reply: Reply| async move {
        let stage = stage("").await;
        let what = format!("{reply:?}");
        stage.provider.answers_token(Some(reply));
        let mut browser = Browser::default();
        let answer = stage.sign_in(&mut browser, "/").await;
        assert!((400..600).contains(&answer.status) && browser.session().is_none(), "{what}: {answer:?}");
        assert!(answer.maybe("location").is_none(), "{what}");
    };
    // A few at once: each provider makes a key, and meanwhile nobody else gets on.
    stream::iter(replies).for_each_concurrent(4, one).await;
}

#[tokio::test]
async fn a_document_that_is_not_the_providers_own_is_not_believed() {
    let issuer = |value: Value| change("issuer", move |document| document["issuer"] = value.clone());
    for (what, twist) in [
        issuer(json!("https://evil.test")),
        issuer(json!(null)),
        set("none", "authorization_endpoint", json!(null)),
        set("no text", "token_endpoint", json!(7)),
        set("no web address", "jwks_uri", json!("file:///etc/passwd")),
        set("with a user", "token_endpoint", json!("http://user:pass@127.0.0.1/")),
        set("a script", "end_session_endpoint", json!("javascript:alert(1)")),
        set("of 5 MB", "service_documentation", json!("x".repeat(5 << 20))),
    ] {
        let stage = stage("").await;
        stage.provider.twist_discovery(move |document| twist(document));
        let answer = stage.go(&mut Browser::default(), "/.keyward/login/id?url=%2F").await;
        assert_eq!((answer.status, answer.maybe("location")), (503, None), "{what}");
        assert!(answer.one("retry-after").parse::<u64>().unwrap() > 0);
        stage.provider.behaves();
        crate::support::until("it is asked again", || async {
            stage.go(&mut Browser::default(), "/.keyward/login/id?url=%2F").await.status == 303
        })
        .await;
    }
}

#[tokio::test]
async fn a_provider_that_is_down_keeps_nobody_from_starting_and_is_left_alone_between_two_tries() {
    let stage = stage("").await;
    stage.provider.misbehave(Some(Fault::Instead(Reply::new(503, ""))));
    for _ in 0..20 {
        let answer = stage.go(&mut Browser::default(), "/.keyward/login/id?url=%2F").await;
        assert_eq!(answer.status, 503);
        assert!(answer.one("retry-after").parse::<u64>().unwrap() > 0);
    }
    let asked = stage.provider.asked("/openid-configuration");
    assert!((1..=2).contains(&asked), "{asked}");
    let answer = stage.ask(&Browser::default(), "/").await;
    assert_eq!(answer.status, 401, "who has no session is told to sign in, whatever the provider does");
    stage.provider.misbehave(None);
    crate::support::until("it is back", || async {
        stage.go(&mut Browser::default(), "/.keyward/login/id?url=%2F").await.status == 303
    })
    .await;
}
