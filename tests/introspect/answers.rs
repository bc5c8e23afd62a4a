//! What the portal says, and what it comes to.

use serde_json::{Value, json};

use crate::fakes::server::{Fault, Reply};
use crate::script::{COOKIE, SECRET};
use crate::support::until;
use crate::world::{NOON, Who, World};

const SID: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// A plain answer of a signed-in person with one member changed.
fn with(member: &str, value: Value) -> Value {
    let mut answer = json!({"active": true, "username": "ana"});
    answer[member] = value;
    answer
}

#[tokio::test]
async fn a_strange_answer_is_never_a_yes_and_never_a_no() {
    let yes = json!({"active": true, "username": "ana"}).to_string();
    let strange = [
        Reply::new(200, ""),
        Reply::new(204, ""),
        Reply::new(204, yes.clone()),
        Reply::new(201, yes.clone()),
        Reply::new(206, yes.clone()),
        Reply::html(200, "<form action=\"/login\"><input type=\"password\"></form>"),
        Reply::new(200, "{}"),
        Reply::new(200, "null"),
        Reply::new(200, "true"),
        Reply::new(200, "[]"),
        Reply::new(200, format!("[{yes}]")),
        Reply::new(200, "{\"ok\":\"false\"}"),
        Reply::new(200, "{\"active\":\"true\",\"username\":\"ana\"}"),
        Reply::new(200, "{\"active\":1,\"username\":\"ana\"}"),
        Reply::new(200, "{\"active\":null,\"username\":\"ana\"}"),
        Reply::new(200, "{\"username\":\"ana\"}"),
        Reply::new(200, "{\"active\":true}"),
        Reply::new(200, "{\"active\":[true],\"username\":\"ana\"}"),
        Reply::new(200, "{\"active\":false,\"active\":true,\"username\":\"ana\"}"),
        Reply::new(200, "{\"active\":true,\"username\":\"bob\",\"username\":\"ana\"}"),
        Reply::new(200, "{\"active\":true,\"username\":\"ana\",\"x\":{\"a\":1,\"a\":2}}"),
        Reply::new(200, format!("{yes}{yes}")),
        Reply::new(200, format!("{yes}<!-- debug -->")),
        Reply::new(200, &yes[..yes.len() - 1]),
        Reply::new(200, b"{\"active\":true,\"username\":\"an\xff\"}".to_vec()),
        Reply::new(200, format!("{{\"active\":true,\"username\":\"ana\",\"x\":\"{}\"}}", "x".repeat(5 << 20))),
        Reply::new(302, yes.clone()).with("Location", "/login"),
        Reply::new(302, "").with("Location", "http://169.254.169.254/"),
        Reply::new(307, "").with("Location", "/who"),
        Reply::new(401, yes.clone()),
        Reply::new(403, ""),
        Reply::new(404, "no such page"),
        Reply::new(429, "").with("Retry-After", "7"),
        Reply::new(500, yes.clone()),
        Reply::new(503, "").with("Retry-After", "3600"),
    ];
    let world = World::new().await;
    for (number, reply) in strange.into_iter().enumerate() {
        let (known, stranger) = (&*format!("known-{number}"), &*format!("{SID}{number}"));
        world.script.signs_in(known, "ana");
        assert_eq!(world.who(&[known]).await, Who::is("ana"));
        world.script.always(reply.clone());
        let said = String::from_utf8_lossy(&reply.body).chars().take(60).collect::<String>();
        assert_eq!(world.who(&[stranger]).await, Who::Unavailable, "{} {said}", reply.status);
        world.pass(60);
        assert_eq!(world.who(&[known]).await, Who::is("ana"), "{} {said}: a logout", reply.status);
        world.pass(400);
        assert_eq!(world.who(&[known]).await, Who::Unavailable, "{} {said}: after the grace", reply.status);
        assert_eq!(world.clear_away(), [] as [&str; 0]);
        world.script.misbehave(None);
        world.pass(60);
        assert_eq!(world.who(&[known]).await, Who::is("ana"), "{} {said}: afterwards", reply.status);
    }
    assert!(world.script.told_of().is_empty());
    assert_eq!(world.script.elsewhere(), [] as [&str; 0], "no redirect is followed");
}

#[tokio::test]
async fn a_word_that_is_no_identity_is_none() {
    let world = World::new().await;
    let none = [
        with("username", json!("")),
        with("username", json!(" ana")),
        with("username", json!("ana\r\nX-Admin: 1")),
        with("username", json!("ana\u{1b}[2J")),
        with("username", json!(42)),
        with("username", json!(["ana"])),
        with("username", json!({"name": "ana"})),
        with("username", json!("x".repeat(600))),
        with("name", json!(1)),
        with("email", json!(["a@example.test"])),
        with("roles", json!("admin")),
        with("roles", json!({"admin": true})),
        with("roles", json!(["staff", 1])),
        with("roles", json!(["staff", null])),
        with("roles", json!([""])),
        with("exp", json!("1")),
        with("exp", json!(0)),
        with("exp", json!(-1)),
        with("exp", json!(NOON)),
        with("exp", json!(1e300)),
        with("exp", json!(1.5)),
        with("exp", json!(u64::MAX)),
        with("exp", json!((NOON + 600) * 1000)),
        with("sid", json!("")),
        with("sid", json!(7)),
        with("password", json!("")),
        with("password", json!(1234)),
    ];
    for (number, answer) in none.into_iter().enumerate() {
        let cookie = format!("{SID}{number}");
        world.script.says(&cookie, answer.clone());
        assert_eq!(world.who(&[&cookie]).await, Who::Unavailable, "{answer}");
    }
}

#[tokio::test]
async fn what_the_portal_says_of_somebody_arrives() {
    let world = World::with(
        "[portal.members]\nuser = [\"data.person.login\"]\nroles = [\"data.groups\"]\nexpires = [\"until\"]\n\
         [portal.roles]\nAdministrators = \"admin\"",
    )
    .await;
    let person = json!({"login": "zoë"});
    world.script.says(
        SID,
        json!({
            "active": true, "password": "p&w #ü", "until": NOON + 600,
            "data": {"person": person, "groups": ["Administrators", "admin", "others"]},
        }),
    );
    assert_eq!(world.who(&[SID]).await, Who::is("zoë"));
    let (_, roles, expires, password) = world.details(SID).await;
    assert_eq!((roles, password.as_deref()), (vec!["admin".to_owned()], Some("p&w #ü")));
    // The stand-in sends no date, so its clock is taken for ours.
    assert_eq!(expires, NOON + 600);
}

#[tokio::test]
async fn a_role_with_a_comma_is_never_two() {
    let world = World::new().await;
    world.script.says(SID, with("roles", json!(["staff,admin", "staff"])));
    assert_eq!(world.details(SID).await.1, ["staff"]);
    let world = World::with("[portal.roles]\n\"cn=admin,dc=test\" = \"admin\"").await;
    world.script.says(SID, with("roles", json!(["cn=admin,dc=test", "cn=others,dc=test"])));
    assert_eq!(world.details(SID).await.1, ["admin"]);
}

#[tokio::test]
async fn the_end_of_a_session_is_meant_on_the_portals_own_clock() {
    let world = World::new().await;
    let reply = |left: u64| {
        let answer = json!({"active": true, "username": "ana", "exp": 784_111_777 + left});
        Reply::json(200, &answer).with("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
    };
    world.script.always(reply(600));
    let (_, _, expires, _) = world.details(SID).await;
    assert_eq!(expires, NOON + 600, "whatever year it is there");
}

#[tokio::test]
async fn yes_and_no_are_what_the_configuration_calls_so() {
    let cases = [
        ("", json!({"active": false}), 200, Who::Out("no_session")),
        ("", json!({"active": false, "username": "ana"}), 200, Who::Out("no_session")),
        ("active_is = ['\"yes\"', '1']", json!({"active": "yes", "username": "ana"}), 200, Who::is("ana")),
        ("active_is = ['\"yes\"', '1']", json!({"active": 1, "username": "ana"}), 200, Who::is("ana")),
        ("active_is = ['\"yes\"', '1']", json!({"active": true, "username": "ana"}), 200, Who::Unavailable),
        ("inactive_is = ['\"no\"']", json!({"active": "no"}), 200, Who::Out("no_session")),
        ("inactive_is = ['\"no\"']", json!({"active": false}), 200, Who::Unavailable),
        ("active_is = []", json!({"username": "ana"}), 200, Who::is("ana")),
        ("active_is = []", json!({"username": null}), 200, Who::Unavailable),
        ("active_is = []", json!({}), 200, Who::Unavailable),
        ("active_is = []", json!({"active": false, "username": "ana"}), 200, Who::Out("no_session")),
        ("refused_statuses = [401]", json!({"active": true, "username": "ana"}), 401, Who::Out("no_session")),
        ("refused_statuses = [401]", json!({}), 403, Who::Unavailable),
        ("refused_statuses = [302]", json!({}), 302, Who::Out("no_session")),
        ("refused_statuses = [204]", json!({}), 204, Who::Out("no_session")),
    ];
    for (setting, answer, status, expected) in cases {
        let world = World::with(setting).await;
        world.script.always(Reply::json(status, &answer).with("Location", "/login"));
        assert_eq!(world.who(&[SID]).await, expected, "{setting} {status} {answer}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_badly_is_none() {
    let drip = Fault::Drip(std::time::Duration::from_millis(30));
    for fault in [
        Fault::CloseAtOnce,
        Fault::HalfAnswer,
        Fault::Hang,
        drip,
        Fault::EndlessHeaders,
        Fault::EndlessBody,
        Fault::Garbage,
    ] {
        let world = World::with("timeout = \"400ms\"").await;
        world.script.signs_in("known", "ana");
        world.script.signs_in(SID, "ben");
        assert_eq!(world.who(&["known"]).await, Who::is("ana"));
        world.script.misbehave(Some(fault.clone()));
        assert_eq!(world.who(&[SID]).await, Who::Unavailable, "{fault:?}");
        world.pass(60);
        assert_eq!(world.who(&["known"]).await, Who::is("ana"), "{fault:?}: in the grace");
        world.script.misbehave(None);
        world.pass(31);
        until("an answer again", || async { world.who(&[SID]).await == Who::is("ben") }).await;
    }
}

#[tokio::test]
async fn the_question_holds_the_cookie_and_what_the_configuration_names() {
    for (more, method) in [
        ("", "GET"),
        ("method = \"post\"", "POST"),
        ("method = \"post\"\ncookie_as = \"form\"", "POST"),
        ("method = \"post\"\ncookie_as = \"json\"", "POST"),
    ] {
        let more = format!(
            "host = \"portal.example.test\"\nforward_headers = [\"X-Device\", \"X-Forwarded-For\", \"X-Missing\"]\n\
             {more}\n[portal.headers]\nX-Requested-With = \"keyward\"\nX-Device = \"ours\""
        );
        let world = World::with(&more).await;
        let cookie = "s%3Aq7/+b0=Zx&user=bob";
        world.script.signs_in(cookie, "ana");
        assert_eq!(world.who(&[cookie]).await, Who::is("ana"), "{more}");
        let questions = world.script.questions();
        let [question] = questions.as_slice() else { panic!("one question") };
        let header = |name| question.header(name);
        assert_eq!((question.method.as_str(), question.target.as_str()), (method, "/who"));
        assert_eq!(header("host"), Some("portal.example.test"));
        assert_eq!(header("x-forwarded-for"), Some("192.0.2.7"), "the address, whatever the browser says");
        assert_eq!(header("x-device"), Some("ours"), "what is configured wins");
        assert_eq!(header("x-requested-with"), Some("keyward"));
        assert_eq!(header("authorization"), Some(&*format!("Bearer {SECRET}")));
        for name in ["user-agent", "x-forwarded-host", "x-missing"] {
            assert_eq!(header(name), None, "{name}");
        }
        for (name, _) in &question.headers {
            let once = question.headers.iter().filter(|(other, _)| other == name).count();
            assert_eq!(once, 1, "{name}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_a_cookie_is_refused_before_any_call() {
    let world = World::new().await;
    for cookie in ["", "a b", "a\tb", "a\r\nX: y", "a\0b", "\u{7f}", "ä", "a;b", &"x".repeat(4097)] {
        world.script.signs_in(cookie, "bob");
        assert_eq!(world.who(&[cookie]).await, Who::Out("no_session"), "{cookie:?}");
    }
    assert_eq!((world.script.asked(), world.who(&[]).await), (0, Who::Out("no_session")));
    // What can be one goes along as the one value that it is.
    for cookie in ["a%0d%0aX:%20y", "x&user=bob", "../admin", "a=b", "a,b=c", "\"q\"", "a?b#c", "$(x)", "a\\b"] {
        world.script.signs_in(cookie, "ana");
        assert_eq!(world.who(&[cookie]).await, Who::is("ana"), "{cookie:?}");
        let question = world.script.questions().pop().unwrap();
        assert_eq!(question.target, "/who");
        assert_eq!(question.header("cookie"), Some(&*format!("{COOKIE}={cookie}")));
    }
}

#[tokio::test]
async fn of_two_cookies_the_good_one_counts_and_two_good_ones_are_refused() {
    let world = World::new().await;
    world.script.signs_in("a", "ana");
    world.script.signs_in("b", "ben");
    for (cookies, expected) in [
        (&["x", "a"][..], Who::is("ana")),
        (&["a", "x"], Who::is("ana")),
        (&["a", "a"], Who::is("ana")),
        (&["a", "b"], Who::Out("forged")),
        (&["b", "x", "a"], Who::Out("forged")),
        (&["x", "y"], Who::Out("no_session")),
        (&["1", "2", "3", "4", "a"], Who::Out("no_session")),
    ] {
        assert_eq!(world.who(cookies).await, expected, "{cookies:?}");
        world.pass(3);
    }
    assert!(world.script.asked() <= 20);
    // Of the other one nobody can tell whose it is.
    world.script.always(Reply::new(500, ""));
    assert_eq!(world.who(&["a", "never-seen"]).await, Who::Unavailable);
}
