//! Logging in.

use super::*;
use crate::fakes::open_xchange::{APP_SUITE, DEFAULT_SALT, name_hash, public_hash};
use crate::fakes::server::{Fault, Reply, Server, forward};

#[test]
fn the_stand_in_hashes_as_the_published_example_does() {
    assert_eq!(name_hash(BROWSER, APP_SUITE, &[], DEFAULT_SALT), "IaxgQLSrL7j1zE1Yceasg");
    assert_eq!(public_hash(BROWSER, 1, 3, &[], DEFAULT_SALT), "OF7B6xxx3jbjvxmcsELGdA");
    assert_eq!(name_hash(b"ExampleBrowser/1.0", APP_SUITE, &[], DEFAULT_SALT), "jOi2RESms0eIdAxMabcbcQ");
    assert_eq!(name_hash(b"ExampleBrowser/1.0", "default", &[], DEFAULT_SALT), "SFebaRVTeXL66MSNDZ3A");
}

#[tokio::test]
async fn a_login_takes_every_cookie_of_the_session_and_no_other() {
    for settings in ["", FORM, "api_path = '/appsuite/api'"] {
        let ox = open_xchange(Options::default()).await;
        let keys = opened(&*backend(&ox, settings)).await;
        let mut names = cookie_names(&keys);
        names.sort_unstable();
        let expected = [
            "JSESSIONID",
            "open-xchange-public-session-OF7B6xxx3jbjvxmcsELGdA",
            "open-xchange-secret-IaxgQLSrL7j1zE1Yceasg",
            "open-xchange-session-IaxgQLSrL7j1zE1Yceasg",
            "open-xchange-shard",
        ];
        assert_eq!(names, expected, "{settings}");
    }
}

#[tokio::test]
async fn a_login_looks_like_the_browser_and_hides_the_password_in_the_body() {
    for settings in ["", FORM] {
        let ox = open_xchange(Options::default()).await;
        opened(&*backend(&ox, settings)).await;
        let request = ox.requests().remove(0);
        assert_eq!(request.method, "POST");
        assert_eq!(all(&request, "user-agent"), [BROWSER]);
        assert_eq!(all(&request, "x-forwarded-for"), [b"198.51.100.7"]);
        assert_eq!(all(&request, "x-forwarded-proto"), [b"https"]);
        assert_eq!(all(&request, "accept"), [b"application/json"]);
        assert_eq!(all(&request, "accept-language").len(), 0, "only where the server hashes it");
        assert_eq!(all(&request, "cookie").len(), 0, "or it could be somebody's session");
        assert!(!request.target.contains("p%26w") && !request.target.contains("ana"), "{}", request.target);
        let body = String::from_utf8(request.body).unwrap();
        assert!(body.contains("password=p%26w%20%23x&clientIP=198.51.100.7"), "{body}");
    }
}

#[tokio::test]
async fn what_is_set_is_what_is_sent() {
    for (settings, target, body) in [
        ("client = 'acme-mail'\nversion = '2.0'", "client=acme-mail&version=2.0", ""),
        ("stay_signed_in = true", "&staySignedIn=true", ""),
        ("login_action = 'formlogin'\nautologin = true", "", "&uiWebPath=%2Fappsuite%2F&autologin=true"),
        (
            "login_action = 'formlogin'\nui_web_path = '/ox/'\nstay_signed_in = true",
            "",
            "&uiWebPath=%2Fox%2F&staySignedIn=true",
        ),
        ("scheme = 'http'", "/ajax/login?action=login&authId=", "name=ana%40example.test&"),
    ] {
        let ox = open_xchange(Options::default()).await;
        let _ = backend(&ox, settings).login(&attempt()).await;
        let request = ox.requests().remove(0);
        let sent = String::from_utf8(request.body.clone()).unwrap();
        assert!(request.target.contains(target) && sent.contains(body), "{settings}: {} {sent}", request.target);
        let scheme: &[u8] = if settings.starts_with("scheme") { b"http" } else { b"https" };
        assert_eq!(all(&request, "x-forwarded-proto"), [scheme]);
    }
}

#[tokio::test]
async fn no_two_logins_have_the_same_id() {
    let ox = open_xchange(Options::default()).await;
    let backend = backend(&ox, "");
    for _ in 0..20 {
        opened(&*backend).await;
    }
    assert_eq!(ox.sessions(), 20);
}

#[tokio::test]
async fn every_error_is_told_apart_by_its_code() {
    for (code, judged) in [
        ("LGI-0002", "locked"),
        ("LGI-0003", "protocol"),
        ("LGI-0005", "unreachable"),
        ("LGI-0006", "Credentials"),
        ("LGI-0010", "unreachable"),
        ("LGI-0011", "Expired"),
        ("LGI-0013", "Credentials"),
        ("LGI-0014", "protocol"),
        ("LGI-0021", "locked"),
        ("LGI-0024", "protocol"),
        ("LGI-0026", "Credentials"),
        ("SES-0002", "throttled"),
        ("SES-0007", "locked"),
        ("SES-0008", "locked"),
        ("SES-0010", "locked"),
        ("SES-0204", "locked"),
        ("SES-0205", "protocol"),
        ("SES-0207", "locked"),
        ("XYZ-0001", "protocol"),
        ("", "protocol"),
        ("p&w #x", "protocol"),
    ] {
        let ox = with(Variant::Error(code)).await;
        let outcome = backend(&ox, "").login(&attempt()).await;
        assert_eq!(told(&outcome), judged, "{code}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains(RIGHT), "what is no code is not repeated: {outcome:?}");
        assert_eq!(ox.attempts(ANA), 1, "{code}");
        if !matches!(judged, "protocol") {
            // The page that `formlogin` shows has no code, but a template of the operator's may.
            let page = with(Variant::Error("LGI-0006")).await;
            let text: &'static str = Box::leak(format!("Fehler {code}: leider nicht").into_boxed_str());
            page.set(Variant::ErrorPage(text));
            let wrong = attempt_from(client("198.51.100.7", BROWSER), ANA, "wrong");
            assert_eq!(told(&backend(&page, FORM).login(&wrong).await), judged, "{code} on a page");
        }
    }
}

#[tokio::test]
async fn every_odd_answer_is_judged_for_what_it_is() {
    for (variant, json, form) in [
        (Variant::Usual, "opened", "opened"),
        (Variant::Older, "opened", "opened"),
        (Variant::AbsoluteLocation, "opened", "opened"),
        (Variant::Redirect("https://idp.example.test/"), "Interactive", "opened"),
        (Variant::NoSecret, "protocol", "protocol"),
        (Variant::TwoSecrets, "protocol", "protocol"),
        (Variant::NoSession, "protocol", "protocol"),
        (Variant::Error("LGI-0005"), "unreachable", "protocol"),
    ] {
        for (settings, judged) in [("", json), (FORM, form)] {
            let ox = with(variant.clone()).await;
            let outcome = backend(&ox, settings).login(&attempt()).await;
            assert_eq!(told(&outcome), judged, "{variant:?} {settings}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_error_page_is_read_by_its_texts_and_by_nothing_else() {
    let wrong = attempt_from(client("198.51.100.7", BROWSER), ANA, "wrong");
    for (variant, settings, judged) in [
        (Variant::Usual, "", "Credentials"),
        (Variant::ErrorInJson, "", "Credentials"),
        (Variant::ErrorPage("Falsches Kennwort."), "", "protocol"),
        (Variant::ErrorPage("Falsches Kennwort."), "refused_texts = ['Falsches Kennwort']", "Credentials"),
        (Variant::ErrorPage("Konto gesperrt"), "locked_texts = ['Konto gesperrt']", "locked"),
        (Variant::ErrorPage("XLGI-0006 LGI-00061 LGI-6 LGI-0006-1"), "", "protocol"),
        (Variant::ErrorPage("LGI-é006 SES-"), "", "protocol"),
    ] {
        let ox = with(variant.clone()).await;
        let outcome = backend(&ox, &format!("{FORM}\n{settings}")).login(&wrong).await;
        assert_eq!(told(&outcome), judged, "{variant:?} {settings}: {outcome:?}");
    }
}

#[tokio::test]
async fn too_many_failed_logins_are_one_browsers_and_nobody_elses() {
    let ox = open_xchange(Options { failed_logins: 2, ..Options::default() }).await;
    let backend = backend(&ox, "");
    let wrong = || attempt_from(client("198.51.100.7", BROWSER), ANA, "wrong");
    for judged in ["Credentials", "Credentials", "locked"] {
        assert_eq!(told(&backend.login(&wrong()).await), judged);
    }
    let limited = backend.login(&wrong()).await;
    assert_eq!(limited.err(), Some(Outage::Locked { retry_after: Some(Duration::from_secs(300)) }));
    for (address, agent) in [("198.51.100.8", BROWSER), ("198.51.100.7", &b"Other/1"[..])] {
        assert_eq!(told(&backend.login(&attempt_from(client(address, agent), ANA, RIGHT)).await), "opened");
    }
}

#[tokio::test]
async fn a_server_under_load_is_left_alone() {
    let ox = open_xchange(Options::default()).await;
    for settings in ["", FORM] {
        ox.misbehave(Some(Fault::Instead(Reply::new(503, "").with("Retry-After", "9"))));
        let outcome = backend(&ox, settings).login(&attempt()).await;
        assert_eq!(outcome.err(), Some(Outage::Throttled { retry_after: Some(Duration::from_secs(9)) }));
    }
}

#[tokio::test]
async fn limits_and_locks_of_one_person_are_no_outage() {
    let ox = open_xchange(Options { sessions_per_user: 1, ..Options::default() }).await;
    let backend = backend(&ox, "");
    opened(&*backend).await;
    assert_eq!(told(&backend.login(&attempt()).await), "locked");
    let ben = attempt_from(client("198.51.100.7", BROWSER), BEN, "x");
    assert_eq!(told(&backend.login(&ben).await), "opened");
    ox.configure(|options| options.locked_contexts.push(1));
    assert_eq!(told(&backend.login(&ben).await), "locked");
}

#[tokio::test]
async fn names_that_would_be_trimmed_into_somebody_elses_are_refused_unasked() {
    let ox = open_xchange(Options::default()).await;
    let backend = backend(&ox, "");
    for (name, refused) in [("ana ", true), ("\u{1}ana", true), ("", true), ("a na", false), ("\u{a0}ana", false)] {
        let foreseen = backend.foresees(&attempt_from(client("::1", BROWSER), name, RIGHT));
        assert_eq!(foreseen.is_some(), refused, "{name:?}");
    }
    let without = Attempt { password: None, ..attempt() };
    assert_eq!(told(&backend.login(&without).await), "Credentials");
    assert_eq!(ox.requests().len(), 0);
}

#[tokio::test]
async fn a_user_agent_travels_byte_for_byte_or_not_at_all() {
    const LONG: &[u8] = &[b'x'; 1536];
    const TOO_LONG: &[u8] = &[b'x'; 1537];
    const BINARY: &[u8] = &[0xe9; 512];
    const TOO_BINARY: &[u8] = &[0xe9; 513];
    // Every byte that can stand in a header.
    let every: Vec<u8> = [b"x\t".as_slice(), &(0x20..0x7f).chain(0x80..=0xff).collect::<Vec<u8>>(), b"x"].concat();
    let odd: &[u8] = b"M\xf6zilla/5.0 \xff%41 100% (\tTab) \"q\"";
    for (agent, judged) in [
        (odd, "opened"),
        (&*every.leak(), "opened"),
        (&b""[..], "opened"),
        (LONG, "opened"),
        (BINARY, "opened"),
        (TOO_LONG, "locked"),
        (TOO_BINARY, "locked"),
    ] {
        let ox = open_xchange(Options::default()).await;
        let backend = backend(&ox, "");
        let outcome = backend.login(&attempt_from(client("2001:db8::7", agent), ANA, RIGHT)).await;
        assert_eq!(told(&outcome), judged, "{}", agent.escape_ascii());
        let Ok(Login::Opened(keys)) = outcome else {
            assert_eq!(ox.requests().len(), 0, "no session is opened that could not be ended");
            continue;
        };
        assert_eq!(told_liveness(&backend.check(&keys).await), "alive", "{}", agent.escape_ascii());
        assert!(backend.logout(&keys).await.is_ok());
        assert_eq!(ox.sessions(), 0);
        for request in ox.requests() {
            assert_eq!(all(&request, "user-agent").concat(), agent);
        }
    }
}

#[tokio::test]
async fn before_the_version_that_sets_the_session_cookie_it_is_asked_for() {
    for (autologin, found) in [(true, true), (false, false)] {
        let ox = open_xchange(Options { autologin, ..Options::default() }).await;
        ox.set(Variant::Older);
        let backend = backend(&ox, "");
        let keys = opened(&*backend).await;
        let names = cookie_names(&keys);
        assert_eq!(names.iter().any(|name| name.starts_with("open-xchange-session-")), found, "{names:?}");
        assert_eq!(ox.requests().len(), 2);
        assert_eq!(told_liveness(&backend.check(&keys).await), "alive");
    }
}

#[tokio::test]
async fn a_session_that_is_taken_away_before_it_is_used_is_none() {
    let ox = open_xchange(Options { autologin: true, ..Options::default() }).await;
    ox.set(Variant::Older);
    let behind = url::Url::parse(&ox.url()).unwrap().socket_addrs(|| None).unwrap()[0];
    // A server that sees another address than at the login ends the session, and says so in cookies.
    let front = Server::start(move |request| async move {
        let reply = forward(behind, &request).await.unwrap();
        let secret = "open-xchange-secret-IaxgQLSrL7j1zE1Yceasg=; Path=/; Max-Age=0";
        if request.target.contains("action=store") { Reply::new(200, "").with("Set-Cookie", secret) } else { reply }
    });
    let front = front.await.unwrap();
    let mut section = Section::from_toml("").unwrap();
    let outcome = build(&mut section, wire(&front.url(), None)).login(&attempt()).await;
    assert_eq!(told(&outcome), "protocol");
}

#[tokio::test]
async fn settings_that_would_break_logins_are_mistakes() {
    for (settings, key) in [
        ("login_action = 'json'", "login_action"),
        ("api_path = 'ajax'", "api_path"),
        ("api_path = '/ajax/'", "api_path"),
        ("api_path = '/ajax?x'", "api_path"),
        ("client = ''", "client"),
        ("version = 'a b'", "version"),
        ("ui_web_path = '/appsuite/?x=1'", "ui_web_path"),
        ("ui_web_path = '//evil.test/'", "ui_web_path"),
        ("ui_web_path = 'https://evil.test/'", "ui_web_path"),
        ("scheme = 'ftp'", "scheme"),
        ("bind = ['referer']", "bind[1]"),
        ("route_cookies = ['a b']", "route_cookies"),
        ("refused_texts = ['']", "refused_texts"),
    ] {
        let mut section = Section::from_toml(settings).unwrap();
        let _ = build(&mut section, wire("http://127.0.0.1:1", None));
        assert_eq!(section.mistakes().iter().map(|mistake| mistake.key.as_str()).collect::<Vec<_>>(), [key]);
    }
}
