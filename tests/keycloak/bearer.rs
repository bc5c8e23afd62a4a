//! Programs that bring an access token of Keycloak's themselves.

use keyward::observe::Door;

use crate::example::{CALENDARS, WEBMAIL};
use crate::stage::Stage;
use crate::support::{Answer, Ask};

async fn show(stage: &Stage, token: &str, url: &str) -> Answer {
    let ask = Ask::get(url).header("Authorization", format!("Bearer {token}"));
    stage.keyward.ask(Door::AuthRequest, &ask).await
}

#[tokio::test]
async fn a_program_with_a_token_for_us_is_let_in_where_the_route_says_so() {
    let stage = Stage::start().await;
    let (ours, calendars) = (stage.token("calendar-sync").await, format!("{CALENDARS}/today"));
    let answer = show(&stage, &ours, &calendars).await;
    assert_eq!(answer.assert_allows("service-account-calendar-sync").one("Remote-Groups"), "calendar");
    assert_eq!(show(&stage, &ours, &format!("{WEBMAIL}/")).await.status, 401, "there Authorization is not for us");
    // As good a signature, and for somebody else.
    let another = stage.token("statistics").await;
    let answer = show(&stage, &another, &calendars).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    answer.assert_refuses();
    // What is signed was another text.
    let mut parts: Vec<&str> = ours.split('.').collect();
    parts[1] = another.split('.').nth(1).unwrap();
    assert_eq!(show(&stage, &parts.join("."), &calendars).await.status, 401);
}
