//! Replicas that share nothing, which is what the other tests would see if they shared nothing by mistake.

use std::time::Duration;

use crate::crowd::{Crowd, Seen};
use crate::fakes::axigen::Event;
use crate::house::{House, Plan, STICKY, TURNS};
use crate::ledger::Ledger;
use crate::support::Answer;

const INTERVAL: Duration = Duration::from_secs(2);

async fn day_of(choice: &'static str) -> (Ledger, usize) {
    let plan = Plan { choice, ..Plan::sharing([(); 3].map(|()| "kind = \"memory\"".to_owned())) };
    let house = House::start(&plan.backend("keep_alive_interval = \"2s\"")).await;
    let mut crowd = Crowd::new(&house, Duration::from_millis(100));
    crowd.join(&house, "reader", 40);
    crowd.all_in().await;
    // Longer than two refreshes are apart.
    let refreshed = || async {
        let checks = house.mail.moments().iter().filter(|moment| moment.event == Event::Checked).count();
        checks >= 80
    };
    crate::support::until("refreshes", refreshed).await;
    crowd.rounds(3).await;
    crowd.go_home().await;
    crowd.content(&house, "replicas that share nothing").await;
    (Ledger::of(&house, &[], INTERVAL, Duration::ZERO).await, crowd.people.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_each_has_its_own_people_the_ledger_balances() {
    let (ledger, _) = day_of(STICKY).await;
    ledger.balances("each with people of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_they_take_turns_and_share_nothing_the_ledger_complains() {
    let (ledger, people) = day_of(TURNS).await;
    let complaint = ledger.complaint().expect("a complaint");
    assert!(complaint.ends_with(&format!("logins, and {people} are explained")), "{complaint}");
}

#[test]
fn whoever_reads_notices_another_persons_mailbox() {
    let answer = |status, body: &str| Answer { status, headers: Vec::new(), body: body.into(), head_length: 0 };
    let page = "<header><b>Axigen stand-in</b><span>ana</span>";
    let table = [
        (200, page, Seen::Mailbox),
        (200, "<span>bob</span>", Seen::Wrong("ana sees the mailbox of bob".to_owned())),
        (200, "<input type=password>", Seen::Stranger),
        (401, "{\"reason\":\"no_session\",\"login\":\"x\"}", Seen::Refused("401 no_session".to_owned())),
        (302, "", Seen::Refused("302 ".to_owned())),
        (503, "{\"reason\":\"busy\"}", Seen::Unavailable("503 busy".to_owned())),
    ];
    for (status, body, seen) in table {
        assert_eq!(Seen::of("ana", &answer(status, body)), seen);
    }
}
