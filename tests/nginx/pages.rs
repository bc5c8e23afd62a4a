//! What people see when nginx answers in the application's place.

use keyward::domain::{Reason, Ruling};

use super::house::{CUBE, House, MAIL, SHOP};
use super::servers::{Message, answer};

#[tokio::test]
async fn a_no_is_a_page_for_people_and_json_for_programs() {
    let house = House::with(|_| answer(403, &[("X-Keyward-Reason", "role")], ""), |_| answer(200, &[], "mail")).await;
    let page = house.ask(MAIL, "GET /", &["Accept: text/html"]);
    assert_eq!((page.status(), page.header("Content-Type")), (403, Some("text/html; charset=utf-8")));
    assert!(page.body.contains("<p>Your account may not use this service."), "{}", page.body);
    let program = house.ask(MAIL, "GET /", &["Accept: text/html", "X-Requested-With: XMLHttpRequest"]);
    assert_eq!((program.status(), program.body.as_str()), (403, "{\"reason\":\"role\"}\n"));
    assert!(house.application.take().is_empty(), "nothing came through");
}

#[tokio::test]
async fn every_page_tells_its_reason_and_no_outage_blames_somebody_else() {
    let script = |asked: &Message| {
        let reason = asked.header("User-Agent").unwrap_or_default();
        let known = Reason::ALL.into_iter().find(|known| known.as_str() == reason).unwrap();
        let status = if known.rulings() == [Ruling::Deny] { 403 } else { 503 };
        answer(status, &[("X-Keyward-Reason", reason)], "")
    };
    let house = House::with(script, |_| answer(200, &[], "mail")).await;
    for reason in Reason::ALL {
        let [ruling @ (Ruling::Deny | Ruling::Unavailable)] = reason.rulings() else { continue };
        let word = reason.as_str();
        let page = house.ask(MAIL, "GET /", &[&format!("User-Agent: {word}"), "Sec-Fetch-Mode: navigate"]).body;
        assert!(page.contains(&format!("<small>Reason: <code>{word}</code></small>")), "{page}");
        assert_eq!(page.contains("application cannot be reached"), reason == Reason::BackendUnavailable, "{page}");
        assert_eq!(page.contains("http-equiv=\"refresh\" content=\"5\""), page.contains("tries again"), "{page}");
        assert_eq!(page.contains(">Sign out</a>"), *ruling == Ruling::Deny, "{page}");
    }
}

#[tokio::test]
async fn the_pages_need_nothing_of_a_keyward_that_is_down() {
    let style = include_str!("../../src/pages/style.css");
    let house = House::with(|_| String::new(), |_| answer(200, &[], "mail")).await;
    for host in [MAIL, CUBE, SHOP] {
        for path in ["/", "/.keyward/logout"] {
            let page = house.ask(host, &format!("GET {path}"), &["Sec-Fetch-Mode: navigate"]);
            assert!(page.status() == 503 && page.body.contains("The sign-in service cannot be reached"), "{page:?}");
            assert!(page.body.contains("<code>keyward_unreachable</code>"), "{}", page.body);
            house.keyward.take();
            let addresses = [" href=\"", " src=\"", " action=\""].into_iter().flat_map(|name| {
                page.body.split(name).skip(1).map(|rest| rest.split('"').next().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(addresses.collect::<Vec<_>>(), ["/.keyward/style.css"]);
        }
        let sheet = house.ask(host, "GET /.keyward/style.css", &[]);
        assert_eq!((sheet.status(), sheet.header("Content-Type")), (200, Some("text/css; charset=utf-8")));
        assert_eq!(sheet.body, style, "examples/nginx/keyward/style.inc and src/pages/style.css differ");
        assert!(house.keyward.take().is_empty(), "nginx has the style itself");
    }
}
