//! One table of requests for every kind of portal: who somebody is may be found out in many ways, but what
//! they may do is decided in one.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../fakes/mod.rs"]
mod fakes;
#[path = "../real/mod.rs"]
mod real;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

mod cast;
mod house;
mod kinds;
mod play;
mod portal;
mod request;
mod table;

use std::collections::BTreeSet;

use kinds::HOUSES;
use table::rows;

#[tokio::test]
async fn the_same_requests_are_decided_alike_whatever_kind_of_portal_says_who_it_is() {
    let rows = rows();
    assert!(rows.len() >= 60);
    let said: BTreeSet<&str> = rows.iter().map(|row| row.says).collect();
    assert_eq!(said.len(), rows.len(), "each row says something of its own");
    let plays = keyward::portal::KINDS.iter().map(|kind| {
        let house = HOUSES.iter().find(|(name, _)| *name == kind.name);
        let (_, play) = house.unwrap_or_else(|| panic!("nobody plays a portal of kind {}", kind.name));
        play(&rows)
    });
    let plays = futures_util::future::join_all(plays).await;
    let mut wrong = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        println!("{:2} {}", index + 1, row.says);
        for (kind, cell) in plays.iter().map(|play| (play.kind, &play.cells[index])) {
            println!("       {kind}: {}", cell.told());
            wrong.extend(cell.wrong().map(|how| format!("{kind}, {}: {how}", row.says)));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn nobody_plays_a_kind_of_portal_that_is_none() {
    for (name, _) in HOUSES {
        assert!(keyward::portal::KINDS.iter().any(|kind| kind.name == *name), "{name}");
    }
}
