//! What other sites, and people who plant things, try.

use crate::browser::{Browser, COOKIE, Form, House, INBOX, LOGIN, filled};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

#[tokio::test]
async fn no_other_site_signs_anybody_in() {
    let house = House::start().await;
    for (lines, status) in [
        (&["Sec-Fetch-Site: same-origin"][..], 303),
        (&["Sec-Fetch-Site: none"], 303),
        (&["Origin: https://app.example.test"], 303),
        (&[], 303),
        (&["Sec-Fetch-Site: cross-site"], 403),
        (&["Sec-Fetch-Site: same-site"], 403),
        (&["Sec-Fetch-Site: something-new"], 403),
        (&["Sec-Fetch-Site: cross-site", "Origin: https://app.example.test"], 403),
        (&["Origin: https://evil.test"], 403),
        (&["Origin: null"], 403),
        (&["Origin: http://app.example.test"], 403),
        (&["Origin: https://app.example.test.evil.test"], 403),
    ] {
        let mut browser = Browser::new(&house);
        let form = browser.form(INBOX).await;
        let lines = [&[FORM], lines].concat();
        let answer = browser.send("POST", &form.action, &lines, &filled(&form, "alice", "wonderland")).await;
        assert_eq!(answer.status, status, "{lines:?} {answer:?}");
        assert_eq!(browser.cookie(COOKIE).is_some(), status == 303, "{lines:?}");
    }
}

#[tokio::test]
async fn a_form_counts_with_the_cookie_it_was_made_for_alone() {
    let house = House::start().await;
    let attacker = Browser::new(&house).form(INBOX).await;
    let form_cookie = format!("{COOKIE}-form");
    let own = {
        let mut browser = Browser::new(&house);
        browser.form(INBOX).await;
        browser.cookie(&form_cookie).unwrap().to_owned()
    };
    let token = |text: &str| Form { action: LOGIN.to_owned(), token: text.to_owned() };
    for (cookies, form) in [
        (vec![], &attacker),
        (vec![own.clone()], &attacker),
        (vec![own.clone()], &token("")),
        (vec![own.clone()], &token(&own)),
        (vec![String::new()], &token("")),
        (vec!["x".to_owned()], &attacker),
        (vec![own.clone(), own.clone()], &attacker),
    ] {
        let mut browser = Browser::new(&house);
        browser.cookies = cookies.iter().map(|cookie| (form_cookie.clone(), cookie.clone())).collect();
        let answer = browser.submit(form, "alice", "wonderland").await;
        assert_eq!(answer.status, 403, "{cookies:?} {}", form.token);
        assert!(answer.text().contains("sign in once more") && answer.text().contains("value=\"alice\""), "{answer:?}");
        assert!(browser.cookie(COOKIE).is_none());
    }
}

#[tokio::test]
async fn a_body_that_is_no_form_of_ours_is_refused() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    let form = browser.form(INBOX).await;
    let good = filled(&form, "alice", "wonderland");
    for (kind, body) in [
        ("Content-Type: application/json", good.clone()),
        ("Content-Type: text/plain", good.clone()),
        ("Content-Type: multipart/form-data; boundary=x", good.clone()),
        ("X-Nothing: x", good.clone()),
        (FORM, format!("{good}&name=bob")),
        (FORM, format!("{good}&password=x")),
        (FORM, format!("{good}&form=x")),
        (FORM, String::new()),
        (FORM, "name=alice&password=wonderland".to_owned()),
    ] {
        let answer = browser.send("POST", &form.action, &[kind, "Sec-Fetch-Site: same-origin"], &body).await;
        assert_eq!(answer.status, 400, "{kind} {body}");
        assert!(browser.cookie(COOKIE).is_none());
    }
    let huge = format!("{good}&x={}", "x".repeat(100_000));
    assert_eq!(browser.send("POST", &form.action, &[FORM], &huge).await.status, 413);
    assert_eq!(browser.send("POST", &form.action, &[FORM, "Sec-Fetch-Site: same-origin"], &good).await.status, 303);
}

#[tokio::test]
async fn a_session_that_was_planted_is_never_taken_up() {
    let house = House::start().await;
    let mut attacker = Browser::new(&house);
    assert_eq!(attacker.sign_in("bob", "pässwörd: 50% + #1&x=y").await.status, 303);
    let theirs = attacker.cookie(COOKIE).unwrap().to_owned();
    for planted in ["x".repeat(43), String::new()] {
        let mut browser = Browser::new(&house);
        browser.cookies.push((COOKIE.to_owned(), planted.clone()));
        assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303);
        assert_ne!(browser.cookie(COOKIE), Some(planted.as_str()));
        browser.ask(INBOX).await.assert_allows("alice");
    }
    // A live one as well: it ends, and what is given is new.
    let mut browser = Browser::new(&house);
    let form = browser.form(INBOX).await;
    browser.cookies.push((COOKIE.to_owned(), theirs.clone()));
    assert_eq!(browser.submit(&form, "alice", "wonderland").await.status, 303);
    assert_ne!(browser.cookie(COOKIE), Some(theirs.as_str()));
    browser.ask(INBOX).await.assert_allows("alice");
    attacker.ask(INBOX).await.assert_refuses();
    // And each time another, also for the same person.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut browser = Browser::new(&house);
        assert_eq!(browser.sign_in("alice", "wonderland").await.status, 303);
        assert!(seen.insert(browser.cookie(COOKIE).unwrap().to_owned()));
    }
    let distinct: std::collections::BTreeSet<u8> = seen.iter().flat_map(|shown| shown.bytes()).collect();
    assert!(distinct.len() > 50, "all characters of base64url occur: {distinct:?}");
}

#[tokio::test]
async fn after_sign_in_the_browser_stays_on_this_very_origin() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    let mut tried = 0;
    for scheme in ["", "https:", "http:", "javascript:", "data:", "HTTPS:", " https:", "\thttps:"] {
        for slashes in ["", "/", "//", "///", "/\\", "\\\\", "/\t/", "/%2f", "/.//", "/..//", "/\r\n/"] {
            for host in [
                "evil.test",
                "app.example.test@evil.test",
                "app.example.test.evil.test",
                "app.example.test:8443",
                "evil.test#@app.example.test",
                "evil.test\\@app.example.test",
                "ａpp.example.test",
                "",
            ] {
                let asked = format!("{scheme}{slashes}{host}/x");
                let onward = onward(&mut browser, &asked).await;
                let url =
                    url::Url::parse("https://app.example.test/.keyward/login/staff").unwrap().join(&onward).unwrap();
                assert_eq!(url.origin().ascii_serialization(), "https://app.example.test", "{asked:?} {onward}");
                assert!(onward.starts_with('/') && !onward.starts_with("//"), "{asked:?} {onward}");
                assert!(url.username().is_empty());
                tried += 1;
            }
        }
    }
    assert!(tried > 600);
    for (asked, expected) in [
        ("https://app.example.test/inbox?x=1&y=2", "/inbox?x=1&y=2"),
        ("/a%20b?c=%2F", "/a%20b?c=%2F"),
        (&format!("https://app.example.test{LOGIN}?url=/x"), "/"),
        ("/?next=//evil.test", "/?next=//evil.test"),
        ("/&next=https://evil.test", "/&next=https://evil.test"),
        ("/\"><script>alert(1)</script>", "/%22%3E%3Cscript%3Ealert(1)%3C/script%3E"),
    ] {
        assert_eq!(onward(&mut browser, asked).await, expected, "{asked}");
    }
}

/// Where the form of a page that was asked for so leads on to.
async fn onward(browser: &mut Browser<'_>, asked: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(asked.as_bytes()).collect();
    let page = browser.get(&format!("{LOGIN}?url={encoded}")).await;
    assert_eq!(page.status, 200, "{asked:?}");
    assert!(!page.text().contains("<script"), "{}", page.text());
    let action = Form::of(&page).action;
    let Some((path, query)) = action.split_once('?') else {
        assert_eq!(action, LOGIN);
        return "/".to_owned();
    };
    assert_eq!(path, LOGIN);
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!((pairs.len(), pairs[0].0.as_str()), (1, "url"), "{action}");
    pairs[0].1.clone()
}

#[tokio::test]
async fn the_way_through_the_hand_over_leaves_the_form_behind() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    let onward = "/.keyward/enter/office?return_to=https%3A%2F%2Fapp.example.test%2F&x=\"<b>";
    let form = browser
        .form(&format!(
            "https://app.example.test{}",
            onward.replace('"', "%22").replace('<', "%3C").replace('>', "%3E")
        ))
        .await;
    let page = browser.submit(&form, "alice", "wonderland").await;
    assert!(page.status == 200 && browser.cookie(COOKIE).is_some(), "{page:?}");
    let text = page.text();
    assert!(text.contains("http-equiv=\"refresh\" content=\"0; url=/.keyward/enter/office?return_to="), "{text}");
    assert!(!text.contains("<b>"), "{text}");
}

#[tokio::test]
async fn whatever_stands_in_a_parameter_stays_text() {
    let house = House::start().await;
    let mut browser = Browser::new(&house);
    for hostile in ["\"><script>alert(1)</script>", "' onfocus='x", "</title><img src=x>", "{user}{now}", "&quot;&#34;"]
    {
        let answer = browser.sign_in(hostile, "x").await;
        let text = answer.text();
        for tag in ["<script", "<img", "' onfocus", "\" onfocus"] {
            assert!(!text.contains(tag), "{hostile}: {text}");
        }
        assert!(answer.status == 403 || answer.status == 429, "{answer:?}");
    }
}

#[tokio::test]
async fn over_http_nobody_is_led_to_believe_that_a_host_cookie_is_kept() {
    let house = House::start().await;
    let request = format!("GET {LOGIN} HTTP/1.1\r\nHost: app.example.test\r\nAccept: text/html\r\n\r\n");
    let answer = house.keyward.exchange(request).await;
    assert!(answer.status == 500 && answer.text().contains("needs https"), "{answer:?}");
}
