//! One sign-out for everything: over at once here, told to the applications until they have heard, and
//! written down.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::time::Duration;

use fakes::server::Fault;
use serde_json::{Value, json};
use support::{Ask, Door, House, Ticket, until};

const INBOX: &str = "https://app.example.test/inbox";
const SID: &str = "a-session-that-no-log-line-names";
const LOGOUTS: &str = "keyward_logouts_total{backend=\"office\",cause=\"logout\",outcome=";

/// The lines with this message, less when and where they were written.
fn lines(house: &House, message: &str) -> Vec<Value> {
    let mut lines = house.keyward.log_lines();
    lines.retain(|line| line["message"] == message);
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        for key in ["timestamp", "level", "target", "message"] {
            line.remove(key);
        }
    }
    lines
}

async fn signed_in() -> (House, String) {
    let house = House::start().await;
    let cookie = Ticket::of("alice").sid(SID).cookie();
    house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&cookie)).await.assert_allows("alice");
    (house, cookie)
}

async fn sign_out(house: &House, cookie: &str) {
    let lines = [format!("Cookie: {cookie}"), "X-Request-ID: r-17".to_owned()];
    let answer = house.keyward.get("/.keyward/logout", &[&lines[0], &lines[1]]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_sign_out_that_an_application_missed_is_over_here_and_told_there_later() {
    let (house, cookie) = signed_in().await;
    house.office.misbehave(Some(Fault::CloseAtOnce));
    sign_out(&house, &cookie).await;
    let asked =
        json!({ "by": "browser", "portal": "office", "user": "alice", "backend_sessions": 1, "request_id": "r-17" });
    assert_eq!(lines(&house, "signed out"), [asked]);
    let refused = house.keyward.ask(Door::AuthRequest, &Ask::get(INBOX).cookie(&cookie)).await;
    assert_eq!(refused.reason(), "revoked");
    assert_eq!(house.keyward.metric("keyward_revocation_seconds_count").await, 1.0);
    assert!(house.keyward.metric("keyward_revocation_seconds_sum").await < 1.0);
    let failed = format!("{LOGOUTS}\"failed\"}}");
    until("an attempt that failed", || async { house.keyward.metric(&failed).await > 0.0 }).await;
    assert_eq!(house.keyward.metric("keyward_logouts_waiting{backend=\"office\"}").await, 1.0);
    assert_eq!((house.office.sessions(), lines(&house, "sign-out settled at the back-ends").len()), (1, 0));

    house.office.misbehave(None);
    until("the sign-out at the application", || async { house.office.sessions() == 0 }).await;
    until("its last line", || async { !lines(&house, "sign-out settled at the back-ends").is_empty() }).await;
    let mut settled = lines(&house, "sign-out settled at the back-ends");
    assert!(settled[0].as_object_mut().unwrap().remove("seconds").unwrap().as_f64().unwrap() > 0.5);
    let told = json!({ "by": "browser", "portal": "office", "user": "alice", "heard": 1, "left": 0, "given_up": 0, "request_id": "r-17" });
    assert_eq!(settled, [told]);
    assert_eq!(house.keyward.metric("keyward_logouts_waiting{backend=\"office\"}").await, 0.0);
    assert_eq!(house.keyward.metric(&format!("{LOGOUTS}\"done\"}}")).await, 1.0);
    assert!(!house.keyward.log().contains(SID));
}

#[tokio::test]
async fn somebody_with_no_application_open_is_signed_out_in_one_line() {
    let house = House::start().await;
    sign_out(&house, &Ticket::of("bob").sid(SID).cookie()).await;
    let asked =
        json!({ "by": "browser", "portal": "office", "user": "bob", "backend_sessions": 0, "request_id": "r-17" });
    assert_eq!(lines(&house, "signed out"), [asked]);
    assert_eq!(lines(&house, "sign-out settled at the back-ends").len(), 0);
}

#[tokio::test]
async fn the_end_of_the_process_waits_for_no_application_that_is_down() {
    let (house, cookie) = signed_in().await;
    house.office.misbehave(Some(Fault::CloseAtOnce));
    sign_out(&house, &cookie).await;
    let failed = format!("{LOGOUTS}\"failed\"}}");
    until("some attempts", || async { house.keyward.metric(&failed).await > 1.0 }).await;
    let House { mut keyward, office: _office, post: _post } = house;
    let start = tokio::time::Instant::now();
    keyward.signal("TERM");
    assert_eq!(keyward.ended().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let given_up = keyward.log_lines().into_iter().find(|line| line["message"] == "sign-out settled at the back-ends");
    let given_up = given_up.unwrap();
    assert_eq!((&given_up["level"], &given_up["given_up"], &given_up["heard"]), (&json!("WARN"), &json!(1), &json!(0)));
}
