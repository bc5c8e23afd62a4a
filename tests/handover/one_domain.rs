//! Portal and application share cookies: one answer is enough.

use crate::PORTAL;
use crate::fakes::axigen::Variant;
use crate::fakes::open_xchange::{OpenXchange, Options};
use crate::fakes::server::Fault;
use crate::house::{Browser, House};
use crate::support::{APP_PORTAL, Ask, Door, Setup, Ticket, now, password_of, until};

const JSON: &str = "Accept: application/json";

#[tokio::test]
async fn in_each_layout_of_one_domain_the_browser_gets_the_keys_and_goes_in() {
    let domain = "cookie_domain = \"example.test\"\n";
    let at = |url: &str| format!("url = \"https://{url}\"\n");
    for (enter, route, start, application, cookie_domain) in [
        // The same host: no configuration, another path, another port.
        (String::new(), "webmail.example.test", "https://webmail.example.test", "https://webmail.example.test/", None),
        (at("portal.example.test/mail/"), "portal.example.test", PORTAL, "https://portal.example.test/mail/", None),
        (at("portal.example.test:8443"), "portal.example.test", PORTAL, "https://portal.example.test:8443/", None),
        // Two hosts below one parent; and the application's below the portal's.
        (
            format!("{domain}{}", at("webmail.example.test")),
            "portal.example.test",
            PORTAL,
            "https://webmail.example.test/",
            Some("example.test"),
        ),
        (
            format!("{domain}{}", at("webmail.example.test")),
            "example.test",
            "https://example.test",
            "https://webmail.example.test/",
            Some("example.test"),
        ),
    ] {
        let house = House::start(&enter, &[&format!("host = \"{route}\"\npath = \"/.keyward/enter/mail\"")]).await;
        let answer = house
            .get(&format!("{start}/.keyward/enter/mail"), &[&format!("Cookie: {}", Ticket::of("alice").cookie())])
            .await;
        assert_eq!(answer.status, 303, "{application}: {answer:?}");
        let location = answer.one("Location");
        let key = location.strip_prefix(application).unwrap_or_else(|| panic!("{location} at {application}"));
        assert!(key.starts_with("?_h=") && key.len() == "?_h=".len() + 32, "{location}");
        let cookie = answer.one("Set-Cookie");
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        let attributes = attributes.split("; ").collect::<Vec<_>>();
        let domain = cookie_domain.map(|domain| format!("Domain={domain}"));
        let expected: Vec<&str> =
            ["Path=/"].into_iter().chain(domain.as_deref()).chain(["HttpOnly", "SameSite=Lax", "Secure"]).collect();
        assert_eq!(attributes, expected, "{application}");
        assert_eq!(house.mail.owner(pair.strip_prefix("_hmail=").unwrap()).as_deref(), Some("alice"));
        assert_eq!(house.mail.logins("alice"), 1);
    }
}

#[tokio::test]
async fn an_application_that_minds_the_browser_is_entered_by_its_own_page_with_its_own_cookies() {
    let password = password_of("alice");
    let options = Options { known_proxies: vec!["127.0.0.1"], ..Options::default() };
    let ox = OpenXchange::start(&[("alice", &password)], options).await.unwrap();
    let house = House::with("", &["host = \"webmail.example.test\""], |config| {
        let at_ox = |line: &str| {
            if line.starts_with("url = \"http://127") { format!("url = \"{}\"", ox.url()) } else { line.to_owned() }
        };
        let lines: Vec<String> =
            config.replace("kind = \"axigen\"", "kind = \"open-xchange\"").lines().map(at_ox).collect();
        Setup::new(&lines.join("\n"))
    });
    let (house, cookie) = (house.await, format!("Cookie: {}", Ticket::of("alice").cookie()));
    let browser = [cookie.as_str(), "User-Agent: Browser/1", "X-Forwarded-For: 198.51.100.7"];
    let enter = "https://webmail.example.test/.keyward/enter/mail";
    let answer = house.get(enter, &browser).await;
    let location = answer.one("Location");
    assert!(location.starts_with("https://webmail.example.test/appsuite/#session="), "{location}");
    let given = answer.all("Set-Cookie");
    assert!(given.iter().any(|line| line.starts_with("open-xchange-secret-")), "{given:#?}");
    assert!(given.iter().all(|line| line.contains("; Path=/;") && line.contains("; HttpOnly; SameSite=Lax; Secure")));
    // Another browser of hers has a session of its own.
    let other = [cookie.as_str(), "User-Agent: Browser/2", "X-Forwarded-For: 198.51.100.8"];
    assert_ne!(house.get(enter, &other).await.one("Location"), location);
    assert_eq!((ox.attempts("alice"), house.get(enter, &browser).await.one("Location")), (2, location));
}

#[tokio::test]
async fn over_plain_http_no_cookie_asks_for_https() {
    let house = House::start("", &["host = \"webmail.example.test\""]).await;
    let cookie = format!("Cookie: {}", Ticket::of("alice").cookie());
    let answer = house.get("http://webmail.example.test:8080/.keyward/enter/mail", &[&cookie]).await;
    assert!(answer.one("Location").starts_with("http://webmail.example.test:8080/?_h="), "{answer:?}");
    assert!(answer.all("Set-Cookie").iter().all(|line| !line.contains("Secure") && line.contains("SameSite=Lax")));
}

#[tokio::test]
async fn forty_at_once_are_one_login_and_share_it_with_the_decisions() {
    let house = House::start("", &["host = \"webmail.example.test\""]).await;
    let ticket = Ticket::of("alice").cookie();
    let cookie = format!("Cookie: {ticket}");
    let lines = [cookie.as_str()];
    let all = (0..40).map(|_| house.get("https://webmail.example.test/.keyward/enter/mail", &lines));
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(|answer| answer.one("Location") == all[0].one("Location")));
    let ask = Ask::get("https://webmail.example.test/").cookie(&ticket);
    house.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("alice");
    assert_eq!(house.mail.logins("alice"), 1);
}

#[tokio::test]
async fn where_nobody_is_signed_in_a_page_goes_to_the_portal_and_back_and_a_script_is_told() {
    let house =
        House::start("return_to = [\"https://portal.example.test/back?a=1\"]", &["host = \"webmail.example.test\""])
            .await;
    let enter = "https://webmail.example.test/.keyward/enter/mail";
    let login = |address: &str| {
        let encoded = percent_encoding::utf8_percent_encode(address, percent_encoding::NON_ALPHANUMERIC);
        format!("https://portal.example.test/login?next={encoded}")
    };
    let (made, ended) = (now() - 100, now() - 10);
    let claims = format!("{{\"sid\":\"{:032x}\",\"sub\":\"alice\",\"iat\":{made},\"exp\":{ended}}}", 1);
    let expired = format!("office_session={}", APP_PORTAL.sign(claims));
    for (cookie, reason) in [("", "no_session"), ("office_session=forged", "forged"), (&expired, "expired")] {
        let cookie = format!("Cookie: {cookie}");
        let page = house.get(enter, &[&cookie]).await;
        assert_eq!((page.status, page.one("Location")), (303, login(enter)), "{reason}");
        assert_eq!(page.all("Set-Cookie"), [] as [&str; 0]);
        let script =
            house.send("GET", enter, &[&cookie, JSON, "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"], "").await;
        let told: serde_json::Value = serde_json::from_slice(&script.body).unwrap();
        assert_eq!((script.status, &told["reason"], &told["login"]), (401, &reason.into(), &login(enter).into()));
        assert_eq!(script.maybe("Location"), None);
    }
    let back = format!("{enter}?return_to=https%3A%2F%2Fportal.example.test%2Fback%3Fa%3D1");
    assert_eq!(house.get(&back, &[]).await.one("Location"), login(&back), "and from there on");
    assert_eq!(house.mail.logins("alice"), 0);
}

#[tokio::test]
async fn somebody_who_was_signed_out_stays_out() {
    let house = House::start("", &["host = \"webmail.example.test\""]).await;
    let mut alice = Browser::default();
    alice.set("webmail.example.test", &Ticket::of("alice").cookie());
    let enter = "https://webmail.example.test/.keyward/enter/mail";
    assert!(alice.clone().enter(&house, enter).await.contains("_h="));
    let mut entered = alice.clone();
    entered.enter(&house, enter).await;
    let out = entered.step(&house, "https://webmail.example.test/.keyward/logout").await;
    let gone = out.all("Set-Cookie");
    assert_eq!(gone, ["_hmail=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"], "what enter gave");
    assert!(alice.enter(&house, enter).await.starts_with("https://portal.example.test/login"));
    until("the logout", || async { house.mail.sessions() == 0 }).await;
}

#[tokio::test]
async fn a_missing_role_and_refusals_look_as_they_do_to_decisions() {
    let house = House::start("", &["host = \"webmail.example.test\"\nroles = [\"mail\"]"]).await;
    let enter = "https://webmail.example.test/.keyward/enter/mail";
    let member = |ticket: Ticket| format!("Cookie: {}", ticket.roles(&["mail"]).cookie());
    for (cookie, reason, words) in [
        (format!("Cookie: {}", Ticket::of("alice").roles(&["mailer"]).cookie()), "role", "You may not open this page"),
        (member(Ticket::of("alice").password("wrong")), "credentials_refused", "did not accept your password"),
        (member(Ticket::of("alice").without_password()), "no_credentials", "did not get your password"),
    ] {
        let page = house.get(enter, &[&cookie]).await;
        assert_eq!((page.status, page.reason().as_str()), (403, reason));
        assert!(page.text().contains(words), "{page:?}");
        assert_eq!((page.maybe("Location"), page.all("Set-Cookie").len()), (None, 0));
        let script = house.post(enter, "https://webmail.example.test", &[&cookie], "{}").await;
        assert_eq!((script.status, script.text()), (403, format!("{{\"reason\":\"{reason}\"}}")));
    }
    assert!(house.get(enter, &[&member(Ticket::of("alice"))]).await.one("Location").contains("_h="));
}

#[tokio::test]
async fn an_outage_is_a_page_that_tries_again_and_no_logout() {
    let house = House::start("", &["host = \"webmail.example.test\""]).await;
    let enter = "https://webmail.example.test/.keyward/enter/mail";
    let cookie = format!("Cookie: {}", Ticket::of("alice").cookie());
    house.mail.misbehave(Some(Fault::CloseAtOnce));
    let page = house.get(enter, &[&cookie]).await;
    assert_eq!((page.status, page.reason().as_str()), (503, "backend_unavailable"));
    assert!(page.one("Retry-After").parse::<u64>().unwrap() >= 1 && page.text().contains("http-equiv=\"refresh\""));
    house.mail.misbehave(None);
    until("the back-end", || async { house.get(enter, &[&cookie]).await.status == 303 }).await;
    house.mail.set(Variant::Documented);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_and_other_methods_do_nothing() {
    let house = House::start("", &["host = \"webmail.example.test\""]).await;
    let cookie = format!("Cookie: {}", Ticket::of("alice").cookie());
    for path in ["other", "MAIL", "mail%00", "..%2fmail", "office"] {
        let answer = house.get(&format!("https://webmail.example.test/.keyward/enter/{path}"), &[&cookie]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(String::from_utf8_lossy(&answer.body).contains("Go back to where you came from"), "{answer:?}");
    }
    for path in ["", "mail/", "mail/x"] {
        let head = format!("GET /.keyward/enter/{path} HTTP/1.1\r\nHost: webmail.example.test\r\n{cookie}\r\n\r\n");
        assert_eq!(house.keyward.exchange(head).await.status, 404, "{path}");
    }
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"] {
        let answer = house.send(method, "https://webmail.example.test/.keyward/enter/mail", &[&cookie], "").await;
        assert_eq!((answer.status, answer.one("Allow").as_str()), (405, "GET, POST"), "{method}");
    }
    assert_eq!(house.mail.attempts("alice"), 0);
}

#[tokio::test]
async fn an_image_a_frame_of_scripts_or_a_prefetch_opens_nothing() {
    let house = House::start("", &["host = \"webmail.example.test\""]).await;
    let cookie = format!("Cookie: {}", Ticket::of("alice").cookie());
    let enter = "https://webmail.example.test/.keyward/enter/mail";
    for lines in [
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"][..],
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Origin: https://evil.test"],
        &["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Origin: https://evil.example.test"],
        &["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Purpose: prefetch"],
        &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Purpose: prefetch;prerender"],
    ] {
        let answer = house.get(enter, &[lines, &[&cookie]].concat()).await;
        assert_eq!(
            (answer.status, answer.reason().as_str(), answer.all("Set-Cookie").len()),
            (403, "bad_request", 0),
            "{lines:?}"
        );
    }
    assert_eq!(house.mail.attempts("alice"), 0);
    // A link on another site's page is only a link.
    let link = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", &cookie];
    assert_eq!(house.get(enter, &link).await.status, 303);
}
