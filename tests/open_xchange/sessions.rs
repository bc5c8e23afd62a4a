//! Sessions: what they are tied to, how they are kept, and how they end.

use super::*;
use crate::fakes::server::{Fault, Reply, forward};
use keyward::backend::Binding;
use keyward::domain::SessionKeysBuilder;

const SECOND: &[u8] = b"SecondBrowser/2.0";

/// What an ordinary module says to a browser with these keys.
async fn ordinary(ox: &OpenXchange, keys: &SessionKeys, agent: &[u8], address: &str) -> String {
    let id = session_id(keys);
    let headers = vec![
        ("host".to_owned(), b"ox.example.test".to_vec()),
        ("cookie".to_owned(), keys.cookies().as_bytes().to_vec()),
        ("user-agent".to_owned(), agent.to_vec()),
        ("x-forwarded-for".to_owned(), address.as_bytes().to_vec()),
    ];
    let target = format!("/ajax/mail?action=all&session={id}");
    let request = Request { method: "GET".to_owned(), target, headers, body: Vec::new() };
    let reply = forward(ox.url().trim_start_matches("http://").parse().unwrap(), &request).await.unwrap();
    String::from_utf8(reply.body).unwrap()
}

fn session_id(keys: &SessionKeys) -> String {
    let pair = keys.cookies().split("; ").find(|pair| pair.starts_with("open-xchange-session-")).unwrap();
    pair.split_once('=').unwrap().1.to_owned()
}

#[tokio::test]
async fn a_session_opens_the_mailbox_for_its_own_browser_only() {
    let ox = open_xchange(Options::default()).await;
    let backend = backend(&ox, "");
    let keys = opened(&*backend).await;
    assert!(ordinary(&ox, &keys, BROWSER, "198.51.100.7").await.contains("Welcome, ana@example.test"));
    assert!(ordinary(&ox, &keys, SECOND, "198.51.100.7").await.contains("SES-0206"));
    assert_eq!(ox.sessions(), 1, "a wrong secret ends nothing");
    assert!(ordinary(&ox, &keys, BROWSER, "198.51.100.8").await.contains("SES-0205"));
    assert_eq!(ox.sessions(), 0, "a wrong address does");
    assert_eq!(told_liveness(&backend.check(&keys).await), "dead");
}

#[tokio::test]
async fn checks_and_logouts_look_like_the_browser_that_logged_in() {
    let options = Options { hash_fields: vec!["Accept-Language"], ..Options::default() };
    let ox = open_xchange(options).await;
    let backend = backend(&ox, "bind = ['user-agent', 'address', 'accept-language']");
    let keys = opened(&*backend).await;
    assert_eq!(told_liveness(&backend.check(&keys).await), "alive");
    assert!(backend.logout(&keys).await.is_ok());
    assert_eq!(ox.sessions(), 0);
    let requests = ox.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(all(request, "user-agent"), [BROWSER]);
        assert_eq!(all(request, "x-forwarded-for"), [b"198.51.100.7"]);
        assert_eq!(all(request, "accept-language"), [b"de-DE,de;q=0.9"]);
    }
}

#[tokio::test]
async fn through_a_web_server_that_adds_its_own_address_it_is_still_the_browsers() {
    let ox = open_xchange(Options { known_proxies: vec!["127.0.0.1"], ..Options::default() }).await;
    let keys = opened(&*backend(&ox, "")).await;
    let page = ordinary(&ox, &keys, BROWSER, "203.0.113.9, 198.51.100.7, 127.0.0.1").await;
    assert!(page.contains("Welcome"), "{page}");
}

#[tokio::test]
async fn a_check_says_what_the_server_says() {
    for (variant, judged) in [
        (Variant::Usual, "alive"),
        (Variant::NewSecret, "renewed"),
        (Variant::TakesSecret, "dead"),
        (Variant::CheckError("SES-0203"), "dead"),
        (Variant::CheckError("SES-0205"), "dead"),
        (Variant::CheckError("SES-0206"), "dead"),
        (Variant::CheckError("SES-0204"), "locked"),
        (Variant::CheckError("LGI-0010"), "unreachable"),
        (Variant::CheckError("XYZ-0001"), "protocol"),
        (Variant::CheckError(""), "protocol"),
    ] {
        let ox = open_xchange(Options::default()).await;
        let backend = backend(&ox, "");
        let keys = opened(&*backend).await;
        ox.set(variant.clone());
        assert_eq!(told_liveness(&backend.check(&keys).await), judged, "{variant:?}");
    }
}

#[tokio::test]
async fn what_is_no_answer_to_a_check_leaves_the_session_alone() {
    let ox = open_xchange(Options::default()).await;
    let backend = backend(&ox, "");
    let keys = opened(&*backend).await;
    for (status, body) in
        [(200, "{}"), (200, "{\"data\":null}"), (200, ""), (200, "<html>"), (403, "<html>"), (404, "{\"data\":\"1\"}")]
    {
        ox.misbehave(Some(Fault::Instead(Reply::new(status, body))));
        assert_eq!(told_liveness(&backend.check(&keys).await), "protocol", "{status} {body}");
    }
}

#[tokio::test]
async fn renewed_cookies_take_the_place_of_the_old_ones() {
    let ox = open_xchange(Options::default()).await;
    let backend = backend(&ox, "");
    let keys = opened(&*backend).await;
    ox.set(Variant::NewSecret);
    let Ok(Liveness::Renewed(renewed)) = backend.check(&keys).await else { panic!("not renewed") };
    assert_eq!(cookie_names(&renewed), cookie_names(&keys), "each once");
    let secret = "open-xchange-secret-IaxgQLSrL7j1zE1Yceasg";
    assert_ne!(renewed.cookie(secret), keys.cookie(secret));
    assert_ne!(renewed.cookie("JSESSIONID"), keys.cookie("JSESSIONID"));
    assert_eq!(session_id(&renewed), session_id(&keys));
    ox.set(Variant::Usual);
    assert_eq!(told_liveness(&backend.check(&renewed).await), "alive");
    assert_eq!(told_liveness(&backend.check(&keys).await), "dead");
    assert_eq!(backend.entry(&renewed), backend.entry(&keys));
}

#[tokio::test]
async fn cookies_of_one_kind_are_held_once_whatever_their_names() {
    const SECRET: &str = "open-xchange-secret-IaxgQLSrL7j1zE1Yceasg";
    for (lines, judged, present, absent) in [
        (&["open-xchange-secret-Other=1; Path=/"][..], "renewed", "open-xchange-secret-Other=1", SECRET),
        (&["open-xchange-shard=; Max-Age=0"], "renewed", SECRET, "open-xchange-shard"),
        (&["open-xchange-shard=two"], "renewed", "open-xchange-shard=two", "open-xchange-shard=default"),
        (&["open-xchange-saml-x=1"], "renewed", "open-xchange-saml-x=1", "theme"),
        (&["theme=dark", "language=de"], "alive", "", ""),
        (&["open-xchange-secret-IaxgQLSrL7j1zE1Yceasg="], "dead", "", ""),
        (&["open-xchange-secret-A=1", "open-xchange-secret-B=2"], "protocol", "", ""),
        (&["open-xchange-secret-A=a b"], "protocol", "", ""),
        (
            &["open-xchange-secret-A=1; Max-Age=0", "open-xchange-secret-B=2"],
            "renewed",
            "open-xchange-secret-B=2",
            SECRET,
        ),
    ] {
        let ox = open_xchange(Options::default()).await;
        let backend = backend(&ox, "");
        let keys = opened(&*backend).await;
        let reply = Reply::new(200, "{\"data\":\"1\"}");
        let reply = lines.iter().fold(reply, |reply, line| reply.with("Set-Cookie", line));
        ox.misbehave(Some(Fault::Instead(reply)));
        let outcome = backend.check(&keys).await;
        assert_eq!(told_liveness(&outcome), judged, "{lines:?}");
        if let Ok(Liveness::Renewed(renewed)) = outcome {
            let held = renewed.cookies();
            assert!(held.contains(present) && !held.contains(absent), "{lines:?}: {held}");
            assert_eq!(renewed.memo(), keys.memo());
        }
    }
}

#[tokio::test]
async fn a_logout_counts_when_the_session_is_gone() {
    for (variant, done, left) in
        [(Variant::Usual, true, 0), (Variant::SilentLogout, true, 0), (Variant::LogoutFails, false, 1)]
    {
        let ox = open_xchange(Options::default()).await;
        let backend = backend(&ox, "");
        let keys = opened(&*backend).await;
        ox.set(variant.clone());
        assert_eq!((backend.logout(&keys).await.is_ok(), ox.sessions()), (done, left), "{variant:?}");
    }
    let ox = open_xchange(Options::default()).await;
    let backend = backend(&ox, "");
    let keys = opened(&*backend).await;
    ox.drop_sessions();
    assert!(backend.logout(&keys).await.is_ok(), "the server forgot it by itself");
    for (status, judged) in
        [(400, "protocol"), (404, "protocol"), (302, "protocol"), (500, "unreachable"), (429, "throttled")]
    {
        ox.misbehave(Some(Fault::Instead(Reply::new(status, ""))));
        let outcome = backend.logout(&keys).await;
        assert_eq!(outcome.err().map(|outage| told_outage(&outage)).as_deref(), Some(judged), "{status}");
    }
}

#[tokio::test]
async fn a_browser_begins_at_the_user_interface_with_its_session_in_the_fragment() {
    for (settings, path) in [("", "/appsuite/"), (FORM, "/appsuite/"), ("ui_web_path = '/ox7/ui'", "/ox7/ui")] {
        for host in [None, Some("ox.example.test")] {
            let ox = open_xchange(Options::default()).await;
            ox.set(Variant::AbsoluteLocation);
            let backend = backend_for_host(&ox.url(), host, settings);
            let keys = opened(&*backend).await;
            let id = session_id(&keys);
            let expected = format!("{path}#session={id}&user_id=3&context_id=1&language=de_DE&locale=de_DE");
            assert_eq!(backend.entry(&keys), expected, "{settings}");
            assert!(!backend.entry(&keys).contains(keys.cookie("open-xchange-secret-IaxgQLSrL7j1zE1Yceasg").unwrap()));
        }
    }
}

#[tokio::test]
async fn keys_with_a_memo_of_another_kind_are_dead_and_harm_nothing() {
    let ox = open_xchange(Options::default()).await;
    let backend = backend(&ox, "");
    for memo in ["", "a", "\n\n\n\n\n\n", "id\n3\n1\nde\nnowhere\nM\nde", "id\n3\n1\nde\n::1\nM"] {
        let keys = SessionKeys::builder().cookie("open-xchange-secret-x", "1").unwrap();
        let keys = keys.memo(memo.to_owned()).and_then(SessionKeysBuilder::build).unwrap();
        assert_eq!(told_liveness(&backend.check(&keys).await), "dead", "{memo:?}");
        assert!(backend.logout(&keys).await.is_err());
        assert_eq!(backend.entry(&keys), "/appsuite/");
    }
    assert_eq!(ox.requests().len(), 0);
}

#[tokio::test]
async fn a_session_is_tied_to_what_the_operator_says() {
    let ox = open_xchange(Options::default()).await;
    let both = Binding { user_agent: true, address: true, accept_language: false };
    for (settings, binding) in [
        ("", both),
        ("bind = ['user-agent', 'address']", both),
        ("bind = ['user-agent']", Binding { address: false, ..both }),
        ("bind = ['accept-language', 'address']", Binding { accept_language: true, user_agent: false, address: true }),
        ("bind = []", Binding::default()),
    ] {
        assert_eq!(backend(&ox, settings).binding(), binding, "{settings}");
    }
}

#[tokio::test]
async fn every_cookie_of_the_application_is_its_own_in_every_spelling() {
    let ox = open_xchange(Options::default()).await;
    let backend = backend(&ox, "route_cookies = ['JSESSIONID', 'ROUTEID']");
    for (name, owned) in [
        ("open-xchange-secret-AnyHash", true),
        ("open-xchange-session-AnyHash", true),
        ("open-xchange-public-session-AnyHash", true),
        ("open-xchange-shard", true),
        ("open-xchange-share-x", true),
        ("open-xchange-saml-x", true),
        ("open-xchange-oidc-x", true),
        ("Open-XChange-Secret-x", true),
        ("open%2dxchange-secret-x", true),
        (" open-xchange-secret-x ", true),
        ("JSESSIONID", true),
        ("jsessionid", true),
        ("%4aSESSIONID", true),
        ("ROUTEID", true),
        ("JSESSIONID2", false),
        ("JSESSION", false),
        ("open-xchange", false),
        ("xopen-xchange-secret-x", false),
        ("language", false),
        ("portal_session", false),
        ("", false),
    ] {
        assert_eq!(backend.owns_cookie(name.as_bytes()), owned, "{name}");
    }
}

#[tokio::test]
async fn nothing_that_is_secret_is_told() {
    let ox = open_xchange(Options::default()).await;
    let backend = backend(&ox, "");
    let keys = opened(&*backend).await;
    let mut told = format!("{keys:?}");
    for fault in [Fault::CloseAtOnce, Fault::Garbage, Fault::Instead(Reply::new(200, RIGHT))] {
        ox.misbehave(Some(fault));
        told += &format!("{:?}", backend.login(&attempt()).await);
        told += &format!("{:?}", backend.check(&keys).await);
        told += &format!("{:?}", backend.logout(&keys).await);
    }
    for secret in [RIGHT, ANA, &session_id(&keys), "secret-IaxgQ", "198.51.100.7"] {
        assert!(!told.contains(secret), "{told} holds {secret}");
    }
}
