//! Back-ends that are slow, broken or hostile, and what they are told.

use std::time::Duration;

use futures_util::future::join_all;

use crate::fakes::axigen::{Person, Variant};
use crate::fakes::server::{Fault, Reply};
use crate::support::{Ask, Connection, DOORS, Door, House, MAIL_PORTAL, Ticket, until};
use crate::{INBOX, MAIL};

/// After an outage the next question is a new try.
const IMPATIENT: &str = "failure_backoff = \"1ms\"\nlogin_timeout = \"1s\"";

#[tokio::test]
async fn a_strange_answer_to_a_login_is_never_a_yes() {
    let house = House::with_back_ends(IMPATIENT, "", |setup| setup).await;
    let instead = |status, body: &str| Fault::Instead(Reply::new(status, body));
    let cookie = "_hmail=0123456789abcdef0123456789abcdef";
    let keys = ["a;b", "a b", "$(x)", "é", "x", "a,b", "a\"b", "../../../../etc/passwd", &"k".repeat(65_536)];
    let mut faults = vec![
        Fault::CloseAtOnce,
        Fault::HalfAnswer,
        Fault::Garbage,
        Fault::EndlessHeaders,
        Fault::EndlessBody,
        Fault::Drip(Duration::from_millis(200)),
        Fault::Hang,
        Fault::ManyCookies(500),
        instead(200, ""),
        instead(200, "null"),
        instead(200, "{}"),
        instead(200, "{\"ok\":\"false\"}"),
        instead(200, "{ success: true }"),
        instead(204, ""),
        instead(206, ""),
        instead(304, ""),
        instead(401, ""),
        instead(403, ""),
        instead(404, ""),
        instead(429, ""),
        instead(500, "{ success: true }"),
        instead(502, ""),
        instead(599, ""),
        Fault::Instead(Reply::new(200, "").with("Set-Cookie", cookie)),
        Fault::Instead(
            Reply::new(500, "").with("Set-Cookie", cookie).with("Location", "/?_h=0123456789abcdef0123456789abcdef"),
        ),
        Fault::Instead(Reply::new(303, "").with("Set-Cookie", cookie).with("Location", "/?_h=%0d%0aX-Evil:1")),
        Fault::Instead(Reply::new(303, "").with("Set-Cookie", cookie).with("Location", "/?_h=")),
    ];
    faults.extend(keys.map(|key| Fault::Keys(key.to_owned())));
    let before = house.keyward.memory();
    for (index, fault) in faults.into_iter().enumerate() {
        house.office.misbehave(Some(fault.clone()));
        // A name of its own each time, so that no refusal is remembered from before.
        let user = format!("user{index}");
        house.office.add(Person::new(&user, &crate::support::password_of(&user), &user));
        let ask = Ask::get(INBOX).cookie(Ticket::of(&user).cookie());
        let answer = house.keyward.ask(DOORS[index % DOORS.len()], &ask).await;
        answer.assert_refuses();
        let reason = answer.reason();
        assert!(
            matches!(reason.as_str(), "credentials_refused" | "backend_unavailable" | "busy"),
            "{fault:?}: {reason}"
        );
        assert!(!answer.everything().contains("evil"), "{answer:?}");
    }
    house.office.misbehave(None);
    for (index, variant) in [
        Variant::RedirectToLoginPage,
        Variant::LoginPage,
        Variant::SaysNo,
        Variant::PasswordExpired,
        Variant::OnlyCookie,
        Variant::OnlyKey,
    ]
    .into_iter()
    .enumerate()
    {
        house.office.set(variant);
        let user = format!("other{index}");
        house.office.add(Person::new(&user, &crate::support::password_of(&user), &user));
        let answer = house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(Ticket::of(&user).cookie())).await;
        assert!(matches!(answer.assert_refuses().status, 403 | 503), "{variant:?}");
    }
    house.office.set(Variant::Documented);
    assert!(house.keyward.memory() < before + 48 * 1024 * 1024, "endless answers are cut");
    until("the back-end is asked again", || async {
        house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(Ticket::of("bob").cookie())).await.status == 200
    })
    .await;
    house.still_serves().await;
}

#[tokio::test]
async fn passwords_arrive_unchanged() {
    let house = House::start().await;
    let passwords = [
        "a&b=c",
        "50% + #1",
        "\"quotes\" 'and' `more`",
        "zażółć gęślą jaźń 🐢",
        " leading",
        "trailing ",
        "\\back\\slash",
        "a;b,c",
        "%41%00",
        "{url}",
        "$HOME",
        "<script>",
        "\ttab",
        "line\nbreak",
        "null",
        &"long".repeat(60),
    ];
    for (index, password) in passwords.into_iter().enumerate() {
        let user = format!("user{index}");
        house.office.add(Person::new(&user, password, &user));
        let ask = Ask::get(INBOX).cookie(Ticket::of(&user).password(password).cookie());
        house.keyward.ask(DOORS[index % DOORS.len()], &ask).await.assert_allows(&user);
    }
}

#[tokio::test]
async fn an_empty_password_is_never_tried() {
    let house = House::start().await;
    house.office.add(Person::new("anonymous", "", "anonymous"));
    for door in DOORS {
        let ask = Ask::get(INBOX).cookie(Ticket::of("anonymous").password("").cookie());
        assert_eq!(house.keyward.ask(door, &ask).await.assert_refuses().reason(), "no_credentials");
    }
    assert_eq!(house.office.requests().len(), 0);
}

#[tokio::test]
async fn a_redirect_is_never_followed_with_the_password_in_hand() {
    let house = House::with_back_ends(IMPATIENT, "", |setup| setup).await;
    let host = house.office.url();
    for (index, (status, location)) in [301, 302, 303, 307, 308]
        .into_iter()
        .flat_map(|status| [house.post.url(), format!("{host}/"), "//evil.test/".to_owned()].map(|to| (status, to)))
        .enumerate()
    {
        house.office.misbehave(Some(Fault::Instead(Reply::new(status, "").with("Location", &location))));
        let user = format!("user{index}");
        let before = house.office.requests().len();
        let answer = house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(Ticket::of(&user).cookie())).await;
        assert!(matches!(answer.assert_refuses().status, 403 | 503), "{status} {location}");
        assert!(house.office.requests().len() <= before + 2, "{status} {location}: a login is not repeated");
    }
    assert_eq!(house.post.requests().len(), 0, "nobody else gets to see it");
    let posts = house.office.requests().into_iter().filter(|request| !request.body.is_empty());
    assert!(posts.count() <= 15, "the password is sent once a login");
}

#[tokio::test]
async fn a_request_never_names_the_server_that_is_called() {
    let house = House::start().await;
    house.office.add(Person::new("a@internal", &crate::support::password_of("a@internal"), "a"));
    for door in DOORS {
        let ask = Ask::get(INBOX)
            .cookie(Ticket::of("a@internal").email("b@127.0.0.1").cookie())
            .header("X-Backend", house.post.url())
            .header("X-Forwarded-Server", "169.254.169.254")
            .header("X-Real-Host", "169.254.169.254")
            .header("Destination", house.post.url());
        house.keyward.ask(door, &ask).await.assert_allows("a@internal");
        let elsewhere = Ask::get("http://169.254.169.254/").cookie(Ticket::of("alice").cookie());
        assert_eq!(house.keyward.ask(door, &elsewhere).await.assert_refuses().reason(), "no_route");
    }
    assert_eq!(house.post.requests().len(), 0);
    let hosts: Vec<_> =
        house.office.requests().iter().map(|request| request.header("host").map(str::to_owned)).collect();
    let configured = house.office.url().strip_prefix("http://").map(str::to_owned);
    assert!(hosts.iter().all(|host| *host == configured), "{hosts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_first_requests_make_one_login() {
    let house = House::start().await;
    let ask = Ask::get(INBOX).cookie(Ticket::of("alice").cookie());
    let asked = (0..200).map(|number| house.keyward.ask(DOORS[number % DOORS.len()], &ask));
    let answers = join_all(asked).await;
    let first = answers[0].one("X-Upstream-Cookie");
    for answer in &answers {
        assert_eq!(answer.assert_allows("alice").one("X-Upstream-Cookie"), first);
    }
    assert_eq!((house.office.attempts("alice"), house.office.sessions()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_password_is_tried_once_whoever_brings_it() {
    let house = House::start().await;
    let sessions: Vec<Ask> =
        (0..10).map(|_| Ask::get(INBOX).cookie(Ticket::of("alice").password("stale").cookie())).collect();
    let answers =
        join_all((0..100).map(|number| house.keyward.ask(DOORS[number % DOORS.len()], &sessions[number % 10]))).await;
    for answer in &answers {
        assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (403, "credentials_refused"));
    }
    assert_eq!(house.office.attempts("alice"), 1);
    // The right one is tried at once, and the wrong one never again.
    house
        .keyward
        .ask(Door::AuthRequest, &Ask::get(INBOX).cookie(Ticket::of("alice").cookie()))
        .await
        .assert_allows("alice");
    assert_eq!(house.keyward.ask(Door::AuthRequest, &sessions[0]).await.reason(), "credentials_refused");
    assert_eq!(house.office.attempts("alice"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_that_hangs_is_felt_by_nobody_else() {
    let limits = ("login_timeout = \"5m\"\nmax_logins = 2", "[limits]\ndrain_timeout = \"1s\"");
    let house = House::with_back_ends(limits.0, limits.1, |setup| setup).await;
    let alice = Ticket::of("alice").cookie();
    house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&alice)).await.assert_allows("alice");
    house.office.misbehave(Some(Fault::Hang));
    // More than the back-end may have at once, each on a connection of its own.
    let mut waiting = Vec::new();
    for number in 0..50 {
        let mut connection = house.keyward.connect().await;
        let user = format!("user{number}");
        connection.send(Ask::get(INBOX).cookie(Ticket::of(&user).cookie()).bytes(Door::AuthRequest)).await;
        waiting.push(connection);
    }
    let in_flight = "keyward_backend_logins_in_flight{backend=\"office\"}";
    until("two logins hang", || async { house.keyward.metric(in_flight).await == 2.0 }).await;
    // Everything else is answered while they hang.
    for door in DOORS {
        for user in ["alice", "bob", "carol"] {
            let post = Ticket::of(user).portal(MAIL_PORTAL).cookie();
            house.keyward.ask(door, &Ask::get(MAIL).cookie(post)).await.assert_allows(user);
        }
        house.keyward.ask(door, &Ask::get(INBOX).cookie(&alice)).await.assert_allows("alice");
        house.keyward.ask(door, &Ask::get(INBOX)).await.assert_refuses();
        house.keyward.ask(door, &Ask::get("https://app.example.test/public/")).await.assert_allows("");
    }
    assert_eq!(house.keyward.operator("/readyz").await.status, 200);
    assert_eq!(house.keyward.metric(in_flight).await, 2.0, "they still hang");
    let answers = join_all(waiting.iter_mut().map(Connection::maybe_answer_at_once)).await;
    assert!(answers.iter().all(Option::is_none), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_ends_after_the_sign_out_opens_nothing() {
    let house = House::start().await;
    let cookie = Ticket::of("alice").cookie();
    let ask = Ask::get(INBOX).cookie(&cookie);
    house.office.misbehave(Some(Fault::Drip(Duration::from_millis(3))));
    let mut waiting = house.keyward.connect().await;
    waiting.send(ask.bytes(Door::AuthRequest)).await;
    until("the login", || async { house.office.sessions() == 1 }).await;
    house.keyward.get("/.keyward/logout", &[&format!("Cookie: {cookie}")]).await;
    assert_eq!(waiting.answer().await.assert_refuses().reason(), "revoked");
    house.office.misbehave(None);
    until("the logout", || async { house.office.sessions() == 0 }).await;
    for door in DOORS {
        assert_eq!(house.keyward.ask(door, &ask).await.assert_refuses().reason(), "revoked");
    }
    assert_eq!(house.keyward.metric("keyward_keys{backend=\"office\"}").await, 0.0);
    assert_eq!(house.office.attempts("alice"), 1);
}
