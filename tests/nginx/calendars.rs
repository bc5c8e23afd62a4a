//! Calendars, address books and phones, about which Keyward is not asked.

use super::IDENTITY;
use super::house::{House, MAIL, allow};
use super::servers::{Message, answer};

#[tokio::test]
async fn calendars_and_phones_go_past_keyward_without_any_key_or_identity() {
    let house = House::allowing().await;
    let said = ["Authorization: Basic QQ==", "Cookie: portal=T", "Remote-User: bob", "X-Forwarded-For: 10.9.8.7"];
    for path in ["/caldav/ana/", "/Microsoft-Server-ActiveSync?Cmd=Sync", "/.well-known/carddav", "/CalDAV"] {
        assert_eq!(house.ask(MAIL, &format!("PROPFIND {path}"), &said).status(), 200);
        let seen = house.application.only();
        assert_eq!(seen.asked(), format!("PROPFIND {path}"));
        assert_eq!(seen.header("Authorization"), Some("Basic QQ=="));
        assert_eq!((seen.header("Cookie"), seen.header("X-Forwarded-For")), (None, Some("127.0.0.1")));
        assert!(IDENTITY.iter().all(|name| seen.header(name).is_none()), "{path}");
        assert!(house.keyward.take().is_empty(), "{path}");
    }
    for path in ["/caldavx", "/x/caldav/", "/caldav/..%2fmail", "/caldav/../mail"] {
        house.ask(MAIL, &format!("GET {path}"), &said);
        assert_eq!(house.keyward.take().len(), 1, "{path} is the webmail's");
        house.application.take();
    }
}

#[tokio::test]
async fn no_disguise_of_a_calendar_leads_around_keyward() {
    let house = House::allowing().await;
    for path in [
        "/index.hsp/../caldav/",
        "/x/%2e%2e/caldav/",
        "/x/%2E%2E/caldav/",
        "/api/v1/login/cookie/../../../../caldav/x",
        "/caldav/..;/x",
        "/caldav/x;y",
        "//caldav/x",
        "/caldav//x",
        "/%63aldav/../x",
        "/caldav/%2e%2e%2fx",
        "/caldav/./x",
        "/caldav/a/..",
    ] {
        house.ask(MAIL, &format!("GET {path}"), &[]);
        // Refused, or asked about like any other page.
        assert!(house.application.take().is_empty() || !house.keyward.take().is_empty(), "{path}");
        house.keyward.take();
    }
    assert_eq!(house.ask(MAIL, "GET /caldav/a..b/x.ics?q=a/../b;c", &[]).status(), 200);
    assert_eq!(house.application.only().asked(), "GET /caldav/a..b/x.ics?q=a/../b;c");
}

#[tokio::test]
async fn calendars_of_one_person_are_kept_for_nobody_else() {
    let traps = "proxy_cache zone; proxy_cache_key $uri; proxy_cache_valid any 1h;";
    let calendar = |asked: &Message| answer(200, &[], asked.header("Authorization").unwrap_or_default());
    let house = House::with_extra(traps, allow, calendar).await;
    for person in ["Basic YW5hOng=", "Basic YmVuOng="] {
        let answered = house.ask(MAIL, "GET /caldav/private", &[&format!("Authorization: {person}")]);
        assert_eq!((answered.status(), answered.body.as_str()), (200, person));
    }
}
