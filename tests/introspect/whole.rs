//! The whole program before a portal that is asked, and a webmail behind it.

use serde_json::json;

use crate::fakes::axigen::Axigen;
use crate::fakes::server::{Fault, Reply};
use crate::script::{COOKIE, SECRET, Script};
use crate::support::{Answer, Ask, DOORS, Door, Setup, Sidecar, mailboxes, password_of, until};

const INBOX: &str = "https://mail.example.test/inbox";
const API_KEY: &str = "00112233445566778899aabbccddeeff";
const SID: &str = "d41d8cd98f00b204e9800998ecf8427e";

struct Town {
    script: Script,
    mail: Axigen,
    keyward: Sidecar,
}

impl Town {
    async fn start() -> Self {
        let (script, mail) = (Script::start().await, mailboxes().await);
        let config = format!(
            "[[api.key]]\ncaller = \"portal\"\nsecret = \"{API_KEY}\"\n[log]\nlevel = \"trace\"\n\
             [[portal]]\nname = \"p\"\nkind = \"introspect\"\nlogin_url = \"https://p.test/?next={{url}}\"\n\
             cookie = \"{COOKIE}\"\nurl = \"{0}/who\"\nsecret = \"{SECRET}\"\nlogout_url = \"{0}/out\"\n\
             cache_for = \"1s\"\nrefused_for = \"200ms\"\ntimeout = \"2s\"\n\
             [[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"{1}\"\n\
             [[route]]\nhost = \"mail.example.test\"\npath = \"/admin\"\nportal = \"p\"\nroles = [\"admin\"]\nbackend = \"mail\"\n\
             [[route]]\nhost = \"mail.example.test\"\nportal = \"p\"\nbackend = \"mail\"\n",
            script.url(),
            mail.url()
        );
        let keyward = Setup::new(&config).with_api().start().await;
        Self { script, mail, keyward }
    }

    fn signs_in(&self, cookie: &str, user: &str) {
        self.script.says(cookie, json!({"active": true, "username": user, "password": password_of(user)}));
    }

    async fn ask(&self, cookie: &str) -> Answer {
        self.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(format!("{COOKIE}={cookie}"))).await
    }

    async fn validations(&self, verdict: &str) -> f64 {
        let series = format!("keyward_portal_validations_total{{portal=\"p\",verdict=\"{verdict}\"}}");
        self.keyward.metric(&series).await
    }
}

#[tokio::test]
async fn from_the_portals_cookie_to_the_mailbox_and_back_out() {
    let town = Town::start().await;
    assert_eq!(town.ask(SID).await.assert_refuses().status, 401);
    town.signs_in("a", "alice");
    for door in DOORS {
        let ask = Ask::get(INBOX).cookie(format!("{COOKIE}=a; other=1"));
        let answer = town.keyward.ask(door, &ask).await;
        answer.assert_allows("alice");
        let keys = answer.one("X-Upstream-Cookie");
        assert!(keys.starts_with("other=1; ") && !keys.contains(COOKIE), "{keys}");
    }
    assert_eq!((town.mail.logins("alice"), town.mail.sessions()), (1, 1));
    let whoami = town.keyward.get("/.keyward/whoami", &[&format!("Cookie: {COOKIE}=a")]).await.text();
    assert!(whoami.contains("\"user\":\"alice\"") && !whoami.contains(&password_of("alice")), "{whoami}");
    assert_eq!(town.keyward.get("/.keyward/logout", &[&format!("Cookie: {COOKIE}=a")]).await.status, 200);
    assert_eq!(town.ask("a").await.reason(), "revoked");
    until("the word to the portal", || async { town.script.told_of() == ["a"] }).await;
    until("the end of the mailbox", || async { town.mail.sessions() == 0 }).await;
    until("the portal's no", || async { town.ask("a").await.reason() == "no_session" }).await;
    // PHP gives the cookie to the next.
    town.signs_in("a", "bob");
    until("the next one", || async { town.ask("a").await.status == 200 }).await;
    town.ask("a").await.assert_allows("bob");
}

#[tokio::test]
async fn whoever_comes_second_behind_a_cookie_gets_nothing_of_the_first() {
    let town = Town::start().await;
    town.signs_in("a", "alice");
    let owner = |answer: &Answer| {
        let keys = answer.one("X-Upstream-Cookie");
        town.mail.owner(keys.strip_prefix("_hmail=").unwrap())
    };
    assert_eq!(owner(town.ask("a").await.assert_allows("alice")).as_deref(), Some("alice"));
    town.signs_in("a", "bob");
    until("the other one", || async {
        let answer = town.ask("a").await;
        let user = answer.one("Remote-User");
        assert_eq!(owner(&answer).as_deref(), Some(user.as_str()), "never mixed");
        user == "bob"
    })
    .await;
    until("the end of hers", || async { town.mail.sessions() == 1 }).await;
    assert_eq!(owner(town.ask("a").await.assert_allows("bob")).as_deref(), Some("bob"), "and not of his");
}

#[tokio::test]
async fn a_role_that_was_taken_away_is_gone_with_the_next_answer() {
    let town = Town::start().await;
    let ask = Ask::get("https://mail.example.test/admin").cookie(format!("{COOKIE}=b"));
    let says = |roles: serde_json::Value| {
        let person = json!({"active": true, "username": "bob", "password": password_of("bob"), "roles": roles});
        town.script.says("b", person);
    };
    says(json!(["admin"]));
    town.keyward.ask(Door::ForwardAuth, &ask).await.assert_allows("bob");
    says(json!(["administrators"]));
    until("the answer without it", || async { town.keyward.ask(Door::ForwardAuth, &ask).await.status == 403 }).await;
    // Strange, and an outage like any other: what was known goes on.
    says(json!("admin"));
    let before = town.script.asked();
    until("the strange answer", || async {
        assert_eq!(town.keyward.ask(Door::ForwardAuth, &ask).await.status, 403);
        town.script.asked() > before
    })
    .await;
    assert_eq!(town.keyward.ask(Door::ForwardAuth, &ask).await.status, 403);
}

#[tokio::test]
async fn a_sign_out_at_the_portal_ends_the_mailbox_within_seconds() {
    let town = Town::start().await;
    town.signs_in("a", "alice");
    town.ask("a").await.assert_allows("alice");
    town.script.signs_out("a");
    until("the no", || async { town.ask("a").await.status == 401 }).await;
    until("the end of the mailbox", || async { town.mail.sessions() == 0 }).await;
    assert_eq!(town.script.told_of(), [] as [&str; 0], "it knows");
    town.signs_in("a", "alice");
    until("a new session", || async { town.ask("a").await.status == 200 }).await;
}

#[tokio::test]
async fn the_portals_server_ends_a_session_by_the_api() {
    let town = Town::start().await;
    town.signs_in(SID, "alice");
    town.ask(SID).await.assert_allows("alice");
    town.script.signs_out(SID);
    let head = format!("DELETE /v1/sessions/{SID} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {API_KEY}\r\n\r\n");
    assert_eq!(town.keyward.call(head).await.status, 204);
    assert_eq!(town.ask(SID).await.assert_refuses().status, 401, "at once");
    until("the end of the mailbox", || async { town.mail.sessions() == 0 }).await;
    assert_eq!(town.script.told_of(), [] as [&str; 0], "it said so itself");
}

#[tokio::test]
async fn an_outage_is_told_and_is_no_logout() {
    let town = Town::start().await;
    town.signs_in("a", "alice");
    town.ask("a").await.assert_allows("alice");
    town.script.misbehave(Some(Fault::CloseAtOnce));
    let answer = town.ask(SID).await;
    assert_eq!((answer.assert_refuses().status, answer.reason().as_str()), (503, "portal_unavailable"));
    assert!((1..=60).contains(&answer.one("Retry-After").parse::<u32>().unwrap()));
    until("a question about her", || async {
        town.ask("a").await.assert_allows("alice");
        town.script.questions().iter().filter(|question| question.cookies()[COOKIE] == "a").count() > 1
    })
    .await;
    town.script.misbehave(None);
    until("the portal again", || async { town.ask(SID).await.status == 401 }).await;
    assert_eq!((town.mail.logins("alice"), town.mail.sessions()), (1, 1));
    let log = town.keyward.log();
    assert_eq!(log.matches("the portal could not be asked whose a session is").count(), 1, "{log}");
    assert!(town.validations("genuine").await >= 2.0 && town.validations("unreachable").await >= 1.0);
}

#[tokio::test]
async fn the_request_names_neither_the_server_nor_anything_else_of_the_question() {
    let town = Town::start().await;
    town.signs_in("x&user=bob", "alice");
    let ask = Ask::get(INBOX)
        .cookie(format!("{COOKIE}=x&user=bob; admin=1"))
        .header("X-Forwarded-For", "198.51.100.9")
        .header("User-Agent", "Firefox")
        .header("X-Real-IP", "127.0.0.1")
        .header("Forwarded", "host=169.254.169.254")
        .header("X-Original-Host", "169.254.169.254")
        .header("Authorization", "Basic Ym9iOmJvYg==");
    // The web server's own word at the other door.
    let ask = ask.header("X-Forwarded-Host", "169.254.169.254");
    town.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("alice");
    let questions = town.script.questions();
    let [question] = questions.as_slice() else { panic!("one question: {questions:?}") };
    assert_eq!(
        (question.target.as_str(), question.header("host")),
        ("/who", town.script.url().strip_prefix("http://"))
    );
    assert_eq!(question.header("x-forwarded-for"), Some("198.51.100.9"));
    assert_eq!(question.header("user-agent"), Some("Firefox"));
    assert_eq!(question.header("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!(question.header("cookie"), Some(&*format!("{COOKIE}=x&user=bob")));
    for name in ["forwarded", "x-forwarded-host", "x-real-ip", "x-original-host", "x-original-url"] {
        assert_eq!(question.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn requests_without_a_cookie_cost_nothing_and_forged_ones_leave_nothing() {
    let town = Town::start().await;
    for _ in 0..100 {
        assert_eq!(town.keyward.ask(Door::AuthRequest, &Ask::get(INBOX)).await.status, 401);
    }
    assert_eq!(town.script.asked(), 0);
    let mut connection = town.keyward.connect().await;
    for number in 0..1000 {
        let ask = Ask::get(INBOX).cookie(format!("{COOKIE}=forged-{number}"));
        assert_eq!(connection.ask(Door::AuthRequest, &ask).await.status, 401);
    }
    assert_eq!((town.script.asked(), town.validations("genuine").await), (1000, 0.0));
    for number in 0..1000 {
        let lines = format!("Cookie: {COOKIE}=forged-{number}");
        connection.send(format!("GET /.keyward/logout HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n")).await;
        assert_eq!(connection.answer().await.status, 200);
    }
    assert_eq!((town.script.asked(), town.script.told_of().len()), (1000, 0), "nor does a sign-out ask");
    town.signs_in("a", "alice");
    town.ask("a").await.assert_allows("alice");
}

#[tokio::test]
async fn nothing_of_the_question_or_the_answer_is_written_down() {
    let town = Town::start().await;
    let cookie = "marked-cookie-4c1d";
    town.signs_in(cookie, "alice");
    town.ask(cookie).await.assert_allows("alice");
    let strange = [
        Reply::new(500, "marked-body-77"),
        Reply::new(200, "{\"active\": true, \"username\": \"marked-body-77\\n\"}"),
        Reply::new(302, "marked-body-77").with("Location", "/login?marked-body-77"),
    ];
    for (number, reply) in strange.into_iter().enumerate() {
        town.script.always(reply);
        assert_eq!(town.ask(&format!("marked-cookie-{number}")).await.status, 503);
    }
    let everything = format!("{}{}", town.keyward.log(), town.keyward.metrics().await);
    for marked in ["marked-", SECRET, &password_of("alice")] {
        assert!(!everything.contains(marked), "{marked} is in {everything}");
    }
}
