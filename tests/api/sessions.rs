//! What a portal tells of its sessions, and what browsers get for it at the other listener.

use serde_json::{Value, json};

use crate::house::{CLUB_KEY, House, INBOX, OFFICE_KEY, SHOP_KEY, SID, but, cookie, problem, session};
use crate::support::{Answer, Ask, DOORS, Door, Ticket, now, until};

const OTHER: &str = "another-session-of-the-shop";

#[tokio::test]
async fn a_registered_session_opens_the_mailbox_until_it_is_deleted() {
    let house = House::start().await;
    assert_eq!(house.ask(INBOX, &cookie(SID)).await.reason(), "no_session");
    assert_eq!(house.register(SID, "alice").await.status, 201);
    for door in DOORS {
        let answer = house.keyward.ask(door, &Ask::get(INBOX).cookie(cookie(SID))).await;
        answer.assert_allows("alice");
        assert_eq!(house.mail.owner(&key_of(&answer)).as_deref(), Some("alice"));
        assert!(!answer.everything().contains(SID), "the portal's cookie goes nowhere");
    }
    assert_eq!(house.mail.logins("alice"), 1);
    assert_eq!(house.delete(SID).await.status, 204);
    let refused = house.ask(INBOX, &cookie(SID)).await;
    assert_eq!((refused.assert_refuses().status, refused.reason().as_str()), (401, "no_session"));
    until("the sign-out at the application", || async { house.mail.sessions() == 0 }).await;
    let line = house.keyward.log_lines().into_iter().find(|line| line["message"] == "signed out").unwrap();
    let told = ["by", "portal", "user", "backend_sessions"].map(|key| line[key].clone());
    assert_eq!(told, [json!("api"), json!("shop"), json!("alice"), json!(1)]);
    assert_eq!(house.delete(SID).await.status, 204, "as often as one likes");
}

/// The application's key in what goes upstream.
fn key_of(answer: &Answer) -> String {
    answer.one("X-Upstream-Cookie").rsplit_once('=').unwrap().1.to_owned()
}

#[tokio::test]
async fn what_is_told_again_is_the_same_and_what_is_told_anew_counts() {
    let house = House::start().await;
    let told = session("alice");
    assert_eq!(house.put(SID, &told).await.status, 201);
    assert_eq!(house.put(SID, &told).await.status, 204);
    house.ask(INBOX, &cookie(SID)).await.assert_allows("alice");
    let admin = "https://shop.example.test/admin";
    assert_eq!(house.ask(admin, &cookie(SID)).await.reason(), "role");
    let anew =
        but(but(but(told.clone(), "roles", json!(["admin"])), "name", json!("Alice Ä")), "email", json!("a@x.test"));
    assert_eq!(house.put(SID, &anew).await.status, 204);
    let answer = house.ask(admin, &cookie(SID)).await;
    answer.assert_allows("alice");
    let [name, email, groups] = ["Remote-Name", "Remote-Email", "Remote-Groups"].map(|name| answer.one(name));
    assert_eq!((name.as_str(), email.as_str(), groups.as_str()), ("Alice Ä", "a@x.test", "admin"));
    house.put(SID, &told).await;
    assert_eq!(house.ask(admin, &cookie(SID)).await.reason(), "role", "a role that was taken away is gone at once");
    assert_eq!(house.ask(INBOX, &cookie(SID)).await.one("Remote-Groups"), "");
    assert_eq!((house.mail.logins("alice"), house.post.logins("alice")), (1, 1), "nobody was signed in again");
}

#[tokio::test]
async fn a_session_ends_by_its_time_and_may_be_prolonged_before() {
    let house = House::start().await;
    let short = |user: &str| but(session(user), "expires", json!(now() + 2));
    house.put(SID, &short("alice")).await;
    house.put(OTHER, &short("bob")).await;
    house.ask(INBOX, &cookie(SID)).await.assert_allows("alice");
    house.put(OTHER, &session("bob")).await;
    until("the end of the session", || async { house.ask(INBOX, &cookie(SID)).await.status == 401 }).await;
    assert_eq!(house.keys(SID, "mail").await.status, 404);
    until("the end at the application", || async { house.mail.sessions() == 0 }).await;
    let line = house.keyward.log_lines().into_iter().find(|line| line["message"] == "signed out").unwrap();
    let told = ["by", "portal", "user", "backend_sessions"].map(|key| line[key].clone());
    assert_eq!(told, [json!("expiry"), json!("shop"), json!("alice"), json!(1)]);
    house.ask(INBOX, &cookie(OTHER)).await.assert_allows("bob");
    assert_eq!(house.register(SID, "alice").await.status, 201, "nobody signed it out, so the portal may go on");
    house.ask(INBOX, &cookie(SID)).await.assert_allows("alice");
}

#[tokio::test]
async fn a_session_that_was_signed_out_is_not_revived() {
    let house = House::start().await;
    house.register(SID, "alice").await;
    house.delete(SID).await;
    house.register(OTHER, "bob").await;
    house.keyward.get("/.keyward/logout", &[&format!("Cookie: {}", cookie(OTHER))]).await;
    let unknown = "a-session-that-nobody-told-of";
    assert_eq!(house.delete(unknown).await.status, 204);
    for sid in [SID, OTHER, unknown] {
        let answer = house.register(sid, "alice").await;
        assert_eq!((answer.status, problem(&answer)["title"].as_str()), (409, Some("the session was signed out")));
        assert_eq!(house.ask(INBOX, &cookie(sid)).await.status, 401, "{sid}");
        assert_eq!(house.touch(SHOP_KEY, sid).await.status, 404, "{sid}");
    }
    let club = house.put_as(CLUB_KEY, SID, &session("alice")).await;
    assert_eq!(club.status, 201, "the other portal's session of that name is another one");
}

#[tokio::test]
async fn two_sessions_at_once_mean_that_somebody_planted_one() {
    let house = House::start().await;
    house.register(SID, "alice").await;
    house.register(OTHER, "bob").await;
    let shown = |values: &[&str]| values.iter().map(|sid| cookie(sid)).collect::<Vec<_>>().join("; ");
    for (values, user) in [
        (&[SID][..], Some("alice")),
        (&["x", SID], Some("alice")),
        (&[SID, "", "unknown-but-of-good-length"], Some("alice")),
        (&[SID, SID], Some("alice")),
        (&[OTHER, "x"], Some("bob")),
        (&[SID, OTHER], None),
        (&[OTHER, "x", SID], None),
        (&["x"], None),
        (&[""], None),
        (&[&SID[..SID.len() - 1]], None),
        (&[&format!("{SID} {OTHER}")], None),
    ] {
        let answer = house.ask(INBOX, &shown(values)).await;
        match user {
            Some(user) => _ = answer.assert_allows(user),
            None => assert_eq!(answer.assert_refuses().status, 401, "{values:?}"),
        }
        let cookies = if user.is_some() { answer.one("X-Upstream-Cookie") } else { String::new() };
        assert!(!cookies.contains("shop_session"), "{cookies}");
    }
    let many = vec!["junk-of-sixteen-bytes"; 200].join("; shop_session=");
    assert_eq!(
        house.ask(INBOX, &format!("shop_session={many}; {}", cookie(SID))).await.status,
        401,
        "a bounded number"
    );
}

#[tokio::test]
async fn a_session_of_one_portal_is_nobody_at_the_other() {
    let house = House::start().await;
    house.register(SID, "alice").await;
    house.put_as(CLUB_KEY, OTHER, &session("bob")).await;
    let club = "https://club.example.test/inbox";
    let (shop_cookie, club_cookie) = (cookie(SID), format!("club_session={OTHER}"));
    house.ask(INBOX, &shop_cookie).await.assert_allows("alice");
    house.ask(club, &club_cookie).await.assert_allows("bob");
    for (url, cookies) in [
        (club, shop_cookie.clone()),
        (club, format!("club_session={SID}")),
        (club, format!("club_session={SID}; {shop_cookie}")),
        (INBOX, club_cookie.clone()),
        (INBOX, cookie(OTHER)),
    ] {
        assert_eq!(house.ask(url, &cookies).await.assert_refuses().status, 401, "{url} {cookies}");
    }
    // The same name at both, for different people.
    house.put_as(CLUB_KEY, SID, &session("carol")).await;
    house.ask(INBOX, &shop_cookie).await.assert_allows("alice");
    house.ask(club, &format!("club_session={SID}")).await.assert_allows("carol");
    house.delete_as(CLUB_KEY, SID).await;
    house.ask(INBOX, &shop_cookie).await.assert_allows("alice");
}

#[tokio::test]
async fn another_user_under_the_same_name_gets_nothing_of_the_first() {
    let house = House::start().await;
    house.register(SID, "alice").await;
    let hers = key_of(&house.ask(INBOX, &cookie(SID)).await);
    assert_eq!(house.register(SID, "bob").await.status, 204);
    let answer = house.ask(INBOX, &cookie(SID)).await;
    answer.assert_allows("bob");
    assert_ne!(key_of(&answer), hers);
    assert_eq!(house.mail.owner(&key_of(&answer)).as_deref(), Some("bob"));
    until("the sign-out of alice at the application", || async { house.mail.sessions() == 1 }).await;
}

#[tokio::test]
async fn the_password_that_was_told_is_the_one_that_is_used() {
    let house = House::start().await;
    house.mail.add(crate::fakes::axigen::Person::new("dora", "  50% + #1 & ü\"\\ ", "Dora"));
    house.put(SID, &but(session("dora"), "password", json!("  50% + #1 & ü\"\\ "))).await;
    house.ask(INBOX, &cookie(SID)).await.assert_allows("dora");
    for (sid, password, reason) in [
        ("with-the-wrong-password", json!("wrong"), "credentials_refused"),
        ("with-no-password-at-all", Value::Null, "no_credentials"),
    ] {
        house.put(sid, &but(session("alice"), "password", password)).await;
        let answer = house.ask(INBOX, &cookie(sid)).await;
        assert_eq!((answer.status, answer.reason().as_str()), (403, reason));
    }
    house.register("with-the-wrong-password", "alice").await;
    house.ask(INBOX, &cookie("with-the-wrong-password")).await.assert_allows("alice");
    assert_eq!(house.mail.attempts("alice"), 2, "each password was tried once");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_those_who_are_there_stay() {
    let house = House::with("[limits]\nsessions = 2").await;
    house.register(SID, "alice").await;
    house.register(OTHER, "bob").await;
    for _ in 0..3 {
        let answer = house.put("one-session-too-many", &session("carol")).await;
        assert_eq!((answer.status, answer.one("Retry-After").as_str()), (503, "60"));
    }
    assert_eq!(house.register(SID, "alice").await.status, 204);
    house.ask(INBOX, &cookie(SID)).await.assert_allows("alice");
    house.ask(INBOX, &cookie(OTHER)).await.assert_allows("bob");
    house.delete(OTHER).await;
    assert_eq!(house.put("one-session-too-many", &session("carol")).await.status, 201);
}

#[tokio::test]
async fn every_field_is_what_it_must_be_or_nothing_is_kept() {
    let house = House::start().await;
    let good = session("alice");
    let long = |length: usize| Value::String("x".repeat(length));
    for (field, value) in [
        ("user", Value::Null),
        ("user", json!("")),
        ("user", json!(" alice")),
        ("user", json!("alice\n")),
        ("user", json!("a\u{85}b")),
        ("user", json!("a\u{1b}[2J")),
        ("user", json!(7)),
        ("user", json!(["alice"])),
        ("user", long(513)),
        ("name", json!("a\r\nRemote-User: bob")),
        ("name", long(513)),
        ("email", json!("a@x.test ")),
        ("roles", json!("admin")),
        ("roles", json!([""])),
        ("roles", json!(["a,b"])),
        ("roles", json!(["a", 1])),
        ("roles", json!({ "admin": true })),
        ("roles", json!(vec!["x"; 257])),
        ("password", json!("")),
        ("password", json!(1)),
        ("password", long(4097)),
        ("expires", Value::Null),
        ("expires", json!(0)),
        ("expires", json!(now())),
        ("expires", json!(now() - 1)),
        ("expires", json!(-1)),
        ("expires", json!(1e300)),
        ("expires", json!(now() as f64 + 60.5)),
        ("expires", json!((now() + 60).to_string())),
        ("expires", json!("60s")),
        ("exp", json!(now() + 60)),
        ("sid", json!(SID)),
        ("Password", json!("x")),
    ] {
        let answer = house.put(SID, &but(good.clone(), field, value.clone())).await;
        assert_eq!(answer.status, 422, "{field} {value}");
    }
    let user = "\"user\":\"alice\",\"expires\":4102444800";
    for body in [
        "{",
        "null",
        "[]",
        "[\"alice\",\"\",\"\",[],\"x\",4102444800]",
        "\"alice\"",
        &format!("{{{user}}} x"),
        &format!("{{{user},}}"),
        &format!("{{{user},\"user\":\"bob\"}}"),
        &format!("{{{user},\"us\\u0065r\":\"bob\"}}"),
        &format!("{{{user},\"password\":null}}"),
        &format!("{{{user},\"name\":null}}"),
        &format!("{{{user},\"roles\":null}}"),
        &format!("{{{user},\"name\":\"\\ud800\"}}"),
        &format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)),
    ] {
        let answer = house.call(SHOP_KEY, "PUT", "/v1/sessions/0123456789abcdef", &[], body).await;
        assert_eq!(answer.status, 422, "{body}");
    }
    let bytes = [format!("{{{user},\"name\":\"").as_bytes(), &b"\xff\xfe"[..], b"\"}"].concat();
    let head = format!(
        "PUT /v1/sessions/0123456789abcdef HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {SHOP_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    let answer = house.keyward.call([head.as_bytes(), &bytes].concat()).await;
    assert_eq!(answer.status, 422, "no UTF-8");
    for sid in ["0123456789abcdef", SID] {
        assert_eq!(house.ask(INBOX, &cookie(sid)).await.status, 401);
    }
    for sid in
        ["short", &"x".repeat(129), "0123456789 abcdef", "0123456789;abcdef", "0123456789abcdé0", "0123456789abc\tde"]
    {
        assert_eq!(house.put(sid, &good).await.status, 422, "{sid}");
    }
    let most = json!({ "user": "x".repeat(512), "name": "ä".repeat(256), "email": "e@x", "roles": vec!["r"; 256],
        "password": "p".repeat(4096), "expires": u64::MAX });
    assert_eq!(house.put(&"x".repeat(128), &most).await.status, 201);
    let same = but(good, "expires", json!(4_102_444_800.0));
    assert!(same.to_string().contains("4102444800.0"));
    assert_eq!(house.put(SID, &same).await.status, 201);
    assert_eq!(house.delete(&"x".repeat(128)).await.status, 204);
}

#[tokio::test]
async fn a_ticket_is_signed_out_by_the_name_in_it() {
    let house = House::start().await;
    let ticket = Ticket::of("alice").sid("the-sid-of-a-ticket-ä");
    let inbox = "https://office.example.test/inbox";
    house.ask(inbox, &ticket.cookie()).await.assert_allows("alice");
    assert_eq!(house.touch(OFFICE_KEY, "the-sid-of-a-ticket-ä").await.text(), "{\"sessions\":1}");
    assert_eq!(house.delete_as(OFFICE_KEY, "the-sid-of-a-ticket-ä").await.status, 204);
    assert_eq!(house.ask(inbox, &ticket.cookie()).await.reason(), "revoked");
    assert_eq!(house.ask(inbox, &ticket.clone().valid(99_999_999).cookie()).await.reason(), "revoked");
    until("the sign-out at the application", || async { house.post.sessions() == 0 }).await;
    house.ask(inbox, &Ticket::of("alice").cookie()).await.assert_allows("alice");
}

#[tokio::test]
async fn a_browser_that_signs_out_ends_the_session_for_the_portal_too() {
    let house = House::start().await;
    house.register(SID, "alice").await;
    house.ask(INBOX, &cookie(SID)).await.assert_allows("alice");
    let answer = house.keyward.get("/.keyward/whoami", &[&format!("Cookie: {}", cookie(SID))]).await;
    assert!(answer.text().contains("\"alice\"") && !answer.everything().contains(SID), "{answer:?}");
    house.keyward.get("/.keyward/logout", &[&format!("Cookie: {}", cookie(SID))]).await;
    assert_eq!(house.keys(SID, "mail").await.status, 404);
    assert_eq!(house.ask(INBOX, &cookie(SID)).await.status, 401);
}

#[tokio::test]
async fn a_touch_tells_at_how_many_applications_somebody_is() {
    let house = House::start().await;
    assert_eq!(house.touch(SHOP_KEY, SID).await.status, 404, "nobody");
    house.put(SID, &but(session("alice"), "roles", json!(["admin"]))).await;
    for (url, sessions) in [("", 0), (INBOX, 1), ("https://shop.example.test/admin", 2)] {
        if !url.is_empty() {
            house.ask(url, &cookie(SID)).await.assert_allows("alice");
        }
        assert_eq!(house.touch(SHOP_KEY, SID).await.text(), format!("{{\"sessions\":{sessions}}}"));
    }
    assert_eq!(house.mail.logins("alice"), 1);
}

#[tokio::test]
async fn many_sessions_at_once_keep_to_their_own() {
    let house = House::start().await;
    let people = ["alice", "bob", "carol"];
    let calls = (0..120).map(|number| {
        let (house, user) = (&house, people[number % 3]);
        async move {
            let sid = format!("session-number-{number:04}");
            assert_eq!(house.register(&sid, user).await.status, 201);
            house.ask(INBOX, &cookie(&sid)).await.assert_allows(user);
            if number % 4 == 0 {
                house.delete(&sid).await;
                assert_eq!(house.ask(INBOX, &cookie(&sid)).await.status, 401);
            }
        }
    });
    futures_util::future::join_all(calls).await;
    for number in 0..120 {
        let answer = house.ask(INBOX, &cookie(&format!("session-number-{number:04}"))).await;
        match number % 4 {
            0 => assert_eq!(answer.status, 401),
            _ => _ = answer.assert_allows(people[number % 3]),
        }
    }
}

#[tokio::test]
async fn a_reload_keeps_what_was_registered() {
    let house = House::start().await;
    house.register(SID, "alice").await;
    house.keyward.rewrite(&House::config(&house.mail.url(), &house.post.url(), "[limits]\nsessions = 5"));
    house.keyward.reload("applied").await;
    house.ask(INBOX, &cookie(SID)).await.assert_allows("alice");
}

#[tokio::test]
async fn cookies_that_nobody_told_of_push_nobody_out_and_leave_nothing() {
    let house = House::with("[limits]\nsessions = 2").await;
    house.register(SID, "alice").await;
    let mut connection = house.keyward.connect().await;
    let mut ask = async |number: usize| {
        let shown = format!("shop_session={number:032}; shop_session={}", "A".repeat(4096));
        let answer = connection.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(shown)).await;
        assert_eq!(answer.status, 401);
    };
    for number in 0..200 {
        ask(number).await;
    }
    let before = house.keyward.memory();
    for number in 200..3000 {
        ask(number).await;
    }
    let grown = house.keyward.memory().saturating_sub(before);
    assert!(grown < 4 * 1024 * 1024, "{grown} bytes more");
    house.ask(INBOX, &cookie(SID)).await.assert_allows("alice");
    assert_eq!(house.register("and-there-is-room", "bob").await.status, 201);
}
