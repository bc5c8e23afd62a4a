//! Portal and application on different domains, by redirect.

use crate::house::{Browser, House};
use crate::support::{Ask, Door, Setup, Ticket, until};
use crate::{MAIL, MAIL_ROUTE};

const LISTED: &str = "origins = [\"https://portal.example.test\"]";
const START: &str = "https://portal.example.test/.keyward/enter/mail";
const THERE: &str = "https://webmail.other.test/.keyward/enter/mail";
/// Keyward does not stand before the application.
const BESIDE: &str = "url = \"https://webmail.other.test/\"\norigins = [\"https://portal.example.test\"]";
const BESIDE_ROUTE: &str = "host = \"portal.example.test\"\npath = \"/.keyward/enter/mail\"";

/// As far as the token: the address at which it is redeemed.
async fn up_to_the_token(house: &House, browser: &mut Browser, start: &str) -> String {
    let mut address = start.to_owned();
    while !address.contains("token=") {
        let answer = browser.step(house, &address).await;
        assert_eq!(answer.status, 303, "{address}: {answer:?}");
        address = answer.one("Location");
    }
    address
}

#[tokio::test]
async fn where_keyward_stands_before_the_application_the_browser_brings_the_portals_session_and_no_key() {
    let house = House::start(LISTED, &[MAIL_ROUTE]).await;
    let ticket = Ticket::of("alice").mint();
    let mut alice = Browser::default();
    alice.set("portal.example.test", &format!("office_session={ticket}"));
    let location = alice.enter(&house, START).await;
    assert!(location.starts_with("https://webmail.other.test/?_h="), "{location}");
    assert_eq!(alice.cookie("webmail.other.test", "office_session").as_deref(), Some(ticket.as_str()));
    assert_eq!(alice.cookie("webmail.other.test", "_hmail"), None);
    assert_eq!(alice.cookie("webmail.other.test", "__Host-keyward_state"), None, "it has served");
    let ask = Ask::page(format!("{MAIL}/")).cookie(alice.cookies("webmail.other.test").trim_start_matches("Cookie: "));
    house.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("alice");
    assert_eq!(house.mail.logins("alice"), 1, "one login for all of it");
    let hosts: Vec<_> = alice.way.iter().map(|address| address.split('/').nth(2).unwrap()).collect();
    assert_eq!(hosts, ["portal.example.test", "webmail.other.test", "portal.example.test", "webmail.other.test"]);
    for address in &alice.way {
        assert!(!address.contains(&ticket) && !address.contains("_h="), "{address}");
    }
    // And out again: what was brought goes as well.
    let out = alice.step(&house, &format!("{MAIL}/.keyward/logout")).await;
    assert_eq!(out.all("Set-Cookie"), ["office_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"]);
    until("the logout", || async { house.mail.sessions() == 0 }).await;
    assert!(alice.enter(&house, START).await.starts_with("https://portal.example.test/login"), "there as well");
}

#[tokio::test]
async fn every_cookie_on_the_way_is_kept_to_its_site_and_hidden_from_scripts() {
    for (enter, route) in [(LISTED, MAIL_ROUTE), (BESIDE, BESIDE_ROUTE)] {
        let house = House::start(enter, &[route]).await;
        let mut alice = Browser::of(&Ticket::of("alice"));
        let mut address = START.to_owned();
        let mut lines = Vec::new();
        while !address.contains("_h=") {
            let answer = alice.step(&house, &address).await;
            lines.extend(answer.all("Set-Cookie"));
            address = answer.one("Location");
        }
        assert_eq!(lines.len(), 3, "the state, what is brought, and the end of the state: {lines:#?}");
        for line in &lines {
            assert!(line.ends_with("; HttpOnly; SameSite=Lax; Secure") && line.contains("; Path=/;"), "{line}");
            assert!(!line.contains("Domain="), "{line}");
        }
        assert!(lines[0].starts_with("__Host-keyward_state=") && lines[0].contains("; Max-Age=60;"), "{lines:#?}");
    }
}

#[tokio::test]
async fn where_keyward_does_not_the_browser_brings_the_applications_own_cookies() {
    let house = House::start(BESIDE, &[BESIDE_ROUTE]).await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    let location = alice.enter(&house, START).await;
    assert!(location.starts_with("https://webmail.other.test/?_h="), "{location}");
    let key = alice.cookie("webmail.other.test", "_hmail").unwrap();
    assert_eq!(house.mail.owner(&key).as_deref(), Some("alice"));
    assert_eq!(alice.cookie("webmail.other.test", "office_session"), None);
}

#[tokio::test]
async fn on_request_the_way_ends_at_the_portal_again() {
    let back = "https://portal.example.test/mail?done=1&x=y";
    let house = House::start(&format!("{BESIDE}\nreturn_to = [\"{back}\"]"), &[BESIDE_ROUTE]).await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    let asked: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
    assert_eq!(alice.enter(&house, &format!("{START}?return_to={asked}")).await, back);
    assert!(alice.cookie("webmail.other.test", "_hmail").is_some());
}

#[tokio::test]
async fn who_comes_to_the_application_first_is_led_through_the_portal_and_back_to_the_page() {
    let house = House::start(LISTED, &[MAIL_ROUTE]).await;
    let page = "https://webmail.other.test/folder?id=5&_h=old";
    let refused = house.keyward.ask(Door::AuthRequest, &Ask::page(page)).await;
    let login = url::Url::parse(&refused.login()).unwrap();
    let (_, next) = login.query_pairs().find(|(name, _)| name == "next").unwrap();
    assert_eq!(next, format!("{THERE}?return_to=https%3A%2F%2Fwebmail.other.test%2Ffolder%3Fid%3D5"));
    // The portal, where she is signed in, sends her back at once.
    let mut alice = Browser::of(&Ticket::of("alice"));
    assert_eq!(alice.enter(&house, &next).await, "https://webmail.other.test/folder?id=5");
    assert!(alice.cookie("webmail.other.test", "office_session").is_some());
    // An old copy does not keep her out: she comes back with the present one.
    alice.set("webmail.other.test", "office_session=kw1.old");
    assert_eq!(alice.enter(&house, &next).await, "https://webmail.other.test/folder?id=5");
    let ask = Ask::page(page).cookie(alice.cookies("webmail.other.test").trim_start_matches("Cookie: "));
    house.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("alice");
}

#[tokio::test]
async fn an_address_too_long_to_come_back_to_is_left_out() {
    let house = House::start(LISTED, &[MAIL_ROUTE]).await;
    for (length, kept) in [(1500, true), (3000, false)] {
        let page = format!("{MAIL}/{}", "x/".repeat(length / 2));
        let login = house.keyward.ask(Door::AuthRequest, &Ask::page(&page)).await.login();
        assert_eq!(login.contains("return%5Fto"), kept);
        assert!(login.contains("%2Fenter%2Fmail"), "{login}");
        let asked: String = url::form_urlencoded::byte_serialize(page.as_bytes()).collect();
        let mut alice = Browser::of(&Ticket::of("alice"));
        let answer = alice.step(&house, &format!("{START}?return_to={asked}")).await;
        assert_eq!(answer.status, if kept { 303 } else { 403 });
    }
}

#[tokio::test]
async fn who_changes_at_the_portal_is_somebody_else_at_the_application() {
    let house = House::start(LISTED, &[MAIL_ROUTE]).await;
    let mut browser = Browser::of(&Ticket::of("alice"));
    browser.enter(&house, START).await;
    browser.set("portal.example.test", &Ticket::of("bob").cookie());
    browser.enter(&house, START).await;
    let cookies = browser.cookies("webmail.other.test");
    let ask = Ask::page(format!("{MAIL}/")).cookie(cookies.trim_start_matches("Cookie: "));
    house.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("bob");
}

#[tokio::test]
async fn nobody_is_sent_round_in_circles_where_the_portals_cookie_is_not_seen() {
    // Guarded, on another domain, and no origin is listed.
    let house = House::start("", &[MAIL_ROUTE]).await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    let first = alice.step(&house, START).await;
    let there = first.one("Location");
    assert!(there.starts_with(&format!("{THERE}?from=")), "{there}");
    let answer = alice.step(&house, &there).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "bad_request"));
    assert!(house.keyward.log().contains("the portal's cookie is not seen at the application's host"));
    // A portal's cookie that both hosts see needs nothing.
    let mut bob = Browser::of(&Ticket::of("bob"));
    let seen = bob.cookie("portal.example.test", "office_session").unwrap();
    bob.set("webmail.other.test", &format!("office_session={seen}"));
    assert!(bob.enter(&house, START).await.starts_with("https://webmail.other.test/?_h="));
}

#[tokio::test]
async fn without_cookies_the_way_ends_and_says_so() {
    let house = House::start(LISTED, &[MAIL_ROUTE]).await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    let token = up_to_the_token(&house, &mut alice, START).await;
    let answer = house.get(&token, &[]).await;
    assert_eq!((answer.status, answer.all("Set-Cookie").len()), (403, 0));
    assert!(answer.text().contains("must take cookies"), "{answer:?}");
    assert!(answer.text().contains(&format!("href=\"{START}\"")));
}

#[tokio::test]
async fn a_token_works_once() {
    let house = House::start(LISTED, &[MAIL_ROUTE]).await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    let token = up_to_the_token(&house, &mut alice, START).await;
    let cookies = alice.cookies("webmail.other.test");

    let lines = [cookies.as_str()];
    let all = futures_util::future::join_all((0..20).map(|_| house.get(&token, &lines))).await;
    let won = all.iter().filter(|answer| answer.status == 303).count();
    assert_eq!(won, 1);
    assert!(
        all.iter()
            .filter(|answer| answer.status != 303)
            .all(|answer| answer.status == 403 && answer.all("Set-Cookie").is_empty())
    );
    assert_eq!(house.get(&token, &lines).await.status, 403);
}

#[tokio::test]
async fn a_token_is_for_one_browser_one_host_and_one_back_end() {
    let house = House::start(LISTED, &[MAIL_ROUTE, "host = \"webmail.third.test\""]).await;
    let elsewhere = |token: &str, from: &str, to: &str| token.replacen(from, to, 1);
    let mut mallory = Browser::of(&Ticket::of("bob"));
    let mut alice = Browser::of(&Ticket::of("alice"));
    // Alice's browser waits for a token of her own when the other's is slipped to her.
    up_to_the_token(&house, &mut alice, START).await;
    let of_alice = alice.cookies("webmail.other.test");
    for (what, change) in
        [("another browser's", None), ("another browser's, at another back-end", Some(("/enter/mail", "/enter/files")))]
    {
        let token = up_to_the_token(&house, &mut mallory, START).await;
        let token = change.map_or_else(|| token.clone(), |(from, to)| elsewhere(&token, from, to));
        let answer = house.get(&token, &[&of_alice]).await;
        assert_eq!((answer.status, answer.all("Set-Cookie").len()), (403, 0), "{what}");
    }
    for (what, from, to) in [
        ("another host", "webmail.other.test", "webmail.third.test"),
        ("another port", "webmail.other.test", "webmail.other.test:8443"),
        ("another scheme", "https://", "http://"),
        ("the portal's host", "webmail.other.test", "portal.example.test"),
        ("another back-end", "/enter/mail", "/enter/files"),
        ("a token cut short", "token=", "token=x"),
    ] {
        let mut bob = mallory.clone();
        let token = up_to_the_token(&house, &mut bob, START).await;
        let cookies = bob.cookies("webmail.other.test").replace("__Host-keyward_state", "keyward_state");
        let both = format!("{}; {}", bob.cookies("webmail.other.test"), cookies.trim_start_matches("Cookie: "));
        let answer = house.get(&elsewhere(&token, from, to), &[&both]).await;
        assert!(matches!(answer.status, 403 | 404), "{what}: {answer:?}");
        assert_eq!(answer.all("Set-Cookie").len(), 0, "{what}");
        // Where it could be redeemed at all it is burnt.
        let again = house.get(&token, &[&bob.cookies("webmail.other.test")]).await.status;
        let burnt = ["another host", "another port", "another scheme"].contains(&what);
        assert_eq!(again, if burnt { 403 } else { 303 }, "{what}");
    }
}

#[tokio::test]
async fn a_token_opens_no_other_back_end_of_the_same_host() {
    let house = House::with(LISTED, &["host = \"webmail.other.test\"\npath = \"/mail\""], |config| {
        let files = "host = \"webmail.other.test\"\npath = \"/files\"";
        Setup::new(&config.replace("host = \"files.other.test\"", files))
    });
    let house = house.await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    let token = up_to_the_token(&house, &mut alice, START).await;
    let at_files = token.replace("/enter/mail", "/enter/files");
    let answer = house.get(&at_files, &[&alice.cookies("webmail.other.test")]).await;
    assert_eq!((answer.status, answer.all("Set-Cookie").len()), (403, 0), "{answer:?}");
    let location = alice.enter(&house, &START.replace("/mail", "/files")).await;
    assert!(location.starts_with("https://webmail.other.test/files/?_h="), "{location}");
}

#[tokio::test]
async fn a_state_is_one_and_not_guessed() {
    let house = House::start(LISTED, &[MAIL_ROUTE]).await;
    let mut alice = Browser::of(&Ticket::of("alice"));
    for cookies in [
        "Cookie: __Host-keyward_state=",
        "Cookie: __Host-keyward_state=x",
        "Cookie: keyward_state=STATE",
        "Cookie: __Host-keyward_state=STATE; __Host-keyward_state=STATE",
        "Cookie: __Host-keyward_state=other; __Host-keyward_state=STATE",
        "Cookie: __Host-keyward_state=MARK",
    ] {
        let token = up_to_the_token(&house, &mut alice, START).await;
        let state = alice.cookie("webmail.other.test", "__Host-keyward_state").unwrap();
        let mark = alice
            .way
            .iter()
            .rev()
            .find_map(|address| Some(address.split_once("state=")?.1.split('&').next()?.to_owned()))
            .unwrap();
        assert_ne!(state, mark, "the state itself is in no address");
        let answer = house.get(&token, &[&cookies.replace("STATE", &state).replace("MARK", &mark)]).await;
        assert_eq!((answer.status, answer.all("Set-Cookie").len()), (403, 0), "{cookies}");
    }
    let lines = [alice.cookies("portal.example.test")];
    for mark in ["", "x", "..%2f..", "%0d%0aSet-Cookie:a=b", &"A".repeat(44), &"A".repeat(4000)] {
        let answer = house.get(&format!("{START}?state={mark}"), &[&lines[0]]).await;
        assert_eq!((answer.status, answer.reason().as_str()), (403, "bad_request"), "{mark}");
    }
}

#[tokio::test]
async fn who_was_signed_out_or_lost_a_role_on_the_way_does_not_arrive() {
    let roles = "host = \"webmail.other.test\"\nroles = [\"mail\"]";
    let house = House::start(LISTED, &[roles]).await;
    let mut alice = Browser::of(&Ticket::of("alice").roles(&["mail"]));
    let token = up_to_the_token(&house, &mut alice, START).await;
    alice.step(&house, "https://portal.example.test/.keyward/logout").await;
    let answer = alice.step(&house, &token).await;
    assert_eq!((answer.status, answer.all("Set-Cookie").len()), (403, 0), "{answer:?}");

    let mut bob = Browser::of(&Ticket::of("bob").roles(&["mail"]));
    let token = up_to_the_token(&house, &mut bob, START).await;
    let config = std::fs::read_to_string(house.keyward.config()).unwrap();
    let changed = config.replace("roles = [\"mail\"]", "roles = [\"others\"]");
    let (_, changed) = changed.split_once("[[portal]]").unwrap();
    house.keyward.rewrite(&format!("[[portal]]{changed}"));
    house.keyward.reload("applied").await;
    assert_eq!(bob.step(&house, &token).await.status, 403);
    let mut carol = Browser::of(&Ticket::of("carol"));
    let answer = carol.step(&house, START).await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "role"), "she is told where she comes from");
}

#[tokio::test]
async fn what_is_not_configured_opens_no_way() {
    let house = House::start(LISTED, &[MAIL_ROUTE]).await;
    let mark = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    let alice = Ticket::of("alice").cookie();
    let cookie = format!("Cookie: {alice}");
    for address in [
        // Other hosts of whoever writes them into the header.
        "https://evil.test/.keyward/enter/mail".to_owned(),
        "https://portal.example.test.evil.test/.keyward/enter/mail".to_owned(),
        // A portal by another scheme or port than listed.
        format!("http://portal.example.test/.keyward/enter/mail?state={mark}"),
        format!("https://portal.example.test:8443/.keyward/enter/mail?state={mark}"),
        // The steps at the wrong place.
        format!("{THERE}?state={mark}"),
        format!("{START}?from=https%3A%2F%2Fportal.example.test"),
        format!("{START}?state={mark}&at=https%3A%2F%2Fevil.test"),
        format!("{START}?state={mark}&at=https%3A%2F%2Fwebmail.other.test%3A8443"),
        format!("{START}?state={mark}&at=http%3A%2F%2Fwebmail.other.test"),
        format!("{START}?state={mark}&at="),
        format!("{THERE}?from=https%3A%2F%2Fevil.test"),
        format!("{THERE}?from=https%3A%2F%2Fportal.example.test%2F"),
        format!("{THERE}?from=null"),
        format!("{THERE}?from="),
        // Several at once, or one twice.
        format!("{START}?state={mark}&state={mark}"),
        format!("{START}?state={mark}&token=x"),
        format!("{THERE}?from=https%3A%2F%2Fportal.example.test&token=x"),
        format!("{START}?then=other"),
        format!("{START}?then=open"),
        format!("{START}?return_to=https%3A%2F%2Fportal.example.test&return_to=x"),
    ] {
        let answer = house.get(&address, &[&cookie]).await;
        assert_eq!((answer.status, answer.maybe("Location")), (403, None), "{address}");
        assert_eq!(answer.all("Set-Cookie").len(), 0, "{address}");
    }
    assert_eq!(house.mail.attempts("alice"), 0);
    // Parameters that nobody knows are nothing.
    assert_eq!(house.get(&format!("{START}?utm_source=portal"), &[&cookie]).await.status, 303);
}

#[tokio::test]
async fn the_vendors_own_script_is_filled_in_and_leads_back() {
    let enter = "url = \"https://webmail.other.test/\"\nreturn_to = [\"https://portal.example.test/mail\"]\n\
                 sso_init = \"https://webmail.other.test/sso/sso-init.hsp?c={cookie}&k={h}&b={back}\"";
    let house = House::start(enter, &[BESIDE_ROUTE]).await;
    let alice = Browser::of(&Ticket::of("alice"));
    let answer = alice.clone().step(&house, START).await;
    let script = url::Url::parse(&answer.one("Location")).unwrap();
    assert_eq!((answer.status, script.path()), (303, "/sso/sso-init.hsp"));
    let query: std::collections::HashMap<_, _> = script.query_pairs().into_owned().collect();
    assert_eq!(house.mail.owner(&query["c"]).as_deref(), Some("alice"));
    assert_eq!(query["b"], format!("{START}?then=open"));
    let opened = alice.clone().enter(&house, &query["b"]).await;
    assert_eq!(opened, format!("https://webmail.other.test/?_h={}", query["k"]));
    let back = "https%3A%2F%2Fportal.example.test%2Fmail";
    let answer = alice.clone().step(&house, &format!("{START}?return_to={back}")).await;
    assert!(answer.one("Location").ends_with("&b=https%3A%2F%2Fportal%2Eexample%2Etest%2Fmail"), "{answer:?}");
}

#[tokio::test]
async fn no_key_token_or_ticket_is_logged_or_counted() {
    let house =
        House::with(BESIDE, &[BESIDE_ROUTE], |config| Setup::new(&config).environment("RUST_LOG", "trace")).await;
    let ticket = Ticket::of("alice").mint();
    let mut alice = Browser::default();
    alice.set("portal.example.test", &format!("office_session={ticket}"));
    let token = up_to_the_token(&house, &mut alice, START).await;
    let state = alice.cookie("webmail.other.test", "__Host-keyward_state").unwrap();
    let location = alice.enter(&house, &token).await;
    alice.step(&house, &token).await;
    let secrets = [
        ticket.as_str(),
        token.split_once("token=").unwrap().1,
        &state,
        location.split_once("_h=").unwrap().1,
        &alice.cookie("webmail.other.test", "_hmail").unwrap(),
    ];
    let written = format!("{}\n{}", house.keyward.log(), house.keyward.metrics().await);
    assert!(written.contains("alice") && secrets.iter().all(|secret| secret.len() >= 16));
    for secret in secrets {
        assert!(!written.contains(secret), "{secret} is in\n{written}");
    }
}
