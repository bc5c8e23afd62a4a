//! The page, and what becomes of it when it is sent.

use crate::browser::{Browser, COOKIE, Form, House, INBOX, LOGIN, PEOPLE};
use crate::support::{Ask, until};

#[tokio::test]
async fn somebody_signs_in_reads_mail_and_signs_out() {
    let house = House::start().await;
    for (name, password) in PEOPLE {
        let mut browser = Browser::new(&house);
        let refused = browser.ask(INBOX).await;
        let login = refused.login();
        let target = login.strip_prefix("https://app.example.test").unwrap_or_else(|| panic!("{login}"));
        assert!(target.starts_with(&format!("{LOGIN}?url=")), "{target}");
        let page = browser.get(target).await;
        let answer = browser.submit(&Form::of(&page), name, password).await;
        assert_eq!((answer.status, answer.one("Location").as_str()), (303, "/inbox"), "{name}: {answer:?}");
        assert_eq!(browser.cookie(COOKIE).map(str::len), Some(43), "256 bits");
        let allowed = browser.ask(INBOX).await;
        allowed.assert_allows(name);
        assert_eq!(allowed.one("Remote-Email"), format!("{name}@example.test"));
        assert!(!allowed.one("X-Upstream-Cookie").contains("keyward"), "none of ours goes upstream: {allowed:?}");
        assert_eq!(browser.ask("https://app.example.test/admin").await.status, if name == "bob" { 200 } else { 403 });
        let session = browser.cookie(COOKIE).unwrap().to_owned();
        let page = browser.send("POST", "/.keyward/logout", &["Sec-Fetch-Site: same-origin"], "").await;
        assert!(page.text().contains("<h1>You are signed out</h1>"), "{page:?}");
        assert_eq!(browser.cookie(COOKIE), None, "it is taken back");
        browser.cookies.push((COOKIE.to_owned(), session));
        browser.ask(INBOX).await.assert_refuses();
        until("the logout", || async { house.office.sessions() == 0 }).await;
    }
}

#[tokio::test]
async fn the_page_is_for_people_small_and_readable_by_everything() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    let page = browser.get(&format!("{LOGIN}?url=%2Finbox")).await;
    let text = page.text();
    for part in [
        "<html lang=\"en\">",
        "<label for=\"name\">User name</label>",
        "id=\"name\" name=\"name\" value=\"\" autocomplete=\"username\"",
        "<label for=\"password\">Password</label>",
        "autocomplete=\"current-password\"",
        "<button>Sign in</button>",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("<script") && !text.contains(" style=") && !text.contains("<style"), "{text}");
    let style = browser.get("/.keyward/style.css").await;
    assert!(page.body.len() + style.body.len() < 8 * 1024);
    let policy = page.one("Content-Security-Policy");
    for part in ["default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script"), "{policy}");
    assert_eq!((page.one("Cache-Control"), page.one("Referrer-Policy")), ("no-store".into(), "same-origin".into()));
    browser.language = "de-AT, en;q=0.3".to_owned();
    let german = browser.get(LOGIN).await.text();
    assert!(german.contains("<html lang=\"de\">") && german.contains("<h1>Anmelden</h1>"), "{german}");
}

#[tokio::test]
async fn only_who_looks_at_a_page_is_shown_one() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    for (method, lines, status) in [
        ("GET", &["Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"][..], 401),
        ("GET", &["Sec-Fetch-Mode: no-cors"], 401),
        ("GET", &["X-Requested-With: XMLHttpRequest"], 401),
        ("GET", &[], 200),
        ("HEAD", &["Sec-Fetch-Mode: navigate"], 200),
        ("PUT", &[], 405),
        ("DELETE", &[], 405),
        ("OPTIONS", &[], 405),
        ("TRACE", &[], 405),
    ] {
        let answer = browser.send(method, LOGIN, lines, "").await;
        assert_eq!(answer.status, status, "{method} {lines:?}");
        assert_eq!(answer.one("Cache-Control"), "no-store");
        if status == 401 {
            assert_eq!(answer.text(), r#"{"reason":"no_session"}"#);
        }
    }
    for path in ["/.keyward/login/", "/.keyward/login/other", "/.keyward/login/staff/", "/.keyward/login/staff/x"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_password_keeps_the_name_and_never_the_password_and_says_the_same_of_every_name() {
    let house = House::start().await;
    let mut pages = Vec::new();
    for (name, password) in [("alice", "Alice-in-Chains"), ("nobody-there", "Alice-in-Chains")] {
        let mut browser = Browser::new(&house);
        let begun = std::time::Duration::from_millis(500);
        let form = browser.form(INBOX).await;
        let waiting = browser.submit(&form, name, password);
        let answer = tokio::time::timeout(begun * 20, waiting).await.unwrap();
        assert_eq!(answer.status, 403);
        let text = answer.text();
        assert!(text.contains(&format!("value=\"{name}\"")) && !text.contains(password), "{text}");
        assert!(text.contains("role=\"alert\"") && text.contains("do not belong together"), "{text}");
        assert!(browser.cookie(COOKIE).is_none());
        pages.push(text.replace(name, "NAME").replace(&Form::of(&answer).token, "TOKEN"));
        let answer = browser.submit(&form, "alice", "wonderland").await;
        assert_eq!(answer.status, 303, "the form is good for another try");
    }
    assert_eq!(pages[0], pages[1]);
}

#[tokio::test]
async fn what_is_no_name_or_no_password_is_wrong_and_never_a_bind() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    for (number, (name, password)) in [
        ("alice", ""),
        ("alice", "   "),
        ("alice", "\0"),
        ("alice", "wonderland\0x"),
        ("", "wonderland"),
        (" ", "wonderland"),
        ("*", "wonderland"),
        ("alice*", "wonderland"),
        ("*)(objectClass=*", "wonderland"),
        ("alice)(uid=*", "wonderland"),
        ("uid=alice,ou=people,dc=example,dc=test", "wonderland"),
        ("alice\0", "wonderland"),
        ("alice\n", "wonderland"),
        ("al\u{200b}ice", "wonderland"),
        ("alice", "WONDERLAND"),
        ("alice", "wonderland "),
    ]
    .into_iter()
    .enumerate()
    {
        browser.address = format!("192.0.2.{number}");
        let answer = browser.sign_in(name, password).await;
        assert_eq!(answer.status, 403, "{name:?} {password:?}: {answer:?}");
        assert!(browser.cookie(COOKIE).is_none());
        let alice = browser.ask(INBOX).await;
        assert_eq!(alice.status, 401);
    }
    for (name, password) in [("ALICE", "wonderland"), (" alice ", "wonderland"), ("alice@example.test", "wonderland")] {
        let mut browser = Browser::at(&house, "198.51.100.1");
        assert_eq!(browser.sign_in(name, password).await.status, 303, "{name}");
        browser.ask(INBOX).await.assert_allows("alice");
    }
}

#[tokio::test]
async fn while_the_directory_is_down_nobody_is_told_that_a_password_is_wrong_and_nobody_is_signed_out() {
    let mut house = House::start().await;
    let cookies = {
        let mut browser = Browser::new(&house);
        assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303);
        browser.cookies
    };
    house.slapd.stop();
    {
        let mut browser = Browser::new(&house);
        for _ in 0..20 {
            let answer = browser.sign_in("alice", "wonderland").await;
            assert_eq!(answer.status, 503, "an outage counts for nothing: {answer:?}");
            assert!(answer.one("Retry-After").parse::<u64>().unwrap() > 0);
            assert!(answer.text().contains("cannot be checked right now"), "{answer:?}");
        }
        let known =
            Ask::page(INBOX).cookie(cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; "));
        house.ask(&known).await.assert_allows("alice");
    }
    house.slapd.start_again().await.unwrap();
    let house = &house;
    until("the directory", || async { Browser::new(house).sign_in("alice", "wonderland").await.status == 303 }).await;
}

#[tokio::test]
async fn who_is_signed_in_is_told_so_and_sent_nowhere_unasked() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    let waiting = browser.form(INBOX).await;
    assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303);
    let page = browser.get(&format!("{LOGIN}?url=%2Finbox%3Fa%3Db")).await;
    assert!(page.status == 200 && page.maybe("Location").is_none(), "{page:?}");
    assert!(page.text().contains("<bdi>alice</bdi>") && page.text().contains("href=\"/inbox?a=b\""), "{page:?}");
    // The form of another tab, whose token is gone.
    let page = browser.submit(&waiting, "bob", "x").await;
    assert!(page.status == 200 && page.text().contains("<bdi>alice</bdi>"), "{page:?}");
    browser.ask(INBOX).await.assert_allows("alice");
}
