use futures_util::future::join_all;
use url::Url;

use super::*;
use crate::domain::{BackendLimits, Clock, CredentialSource, LoginName, ManualClock};
use crate::store::scratch::Scratch;

fn roles() -> Vec<String> {
    vec!["CANARY-SALES".to_owned()]
}

#[tokio::test]
async fn a_ticket_is_redeemed_once() {
    let tickets = Tickets::default();
    let ticket = tickets.issue("ANA", roles()).await.unwrap();
    assert_eq!(tickets.redeem("ANA", ticket.secret()).await, Ok(Shown::Valid(roles())));
    assert_eq!(tickets.redeem("ANA", ticket.secret()).await, Ok(Shown::Unknown));
    assert_eq!(format!("{ticket:?}"), "Ticket(…)");
    assert_eq!(ticket.settle().await, Ok(Some(Fate::Redeemed)));
}

#[tokio::test]
async fn a_ticket_is_for_one_login_and_shown_for_another_it_is_lost() {
    for other in ["BEN", "ana", " ANA", "ANA\n", "ANA\u{a0}", ""] {
        let tickets = Tickets::default();
        let ticket = tickets.issue("ANA", roles()).await.unwrap();
        assert_eq!(tickets.redeem(other, ticket.secret()).await, Ok(Shown::ForAnother), "{other:?}");
        assert_eq!(tickets.redeem("ANA", ticket.secret()).await, Ok(Shown::Unknown));
        assert_eq!(ticket.settle().await, Ok(Some(Fate::Misused)));
    }
}

#[tokio::test]
async fn fields_of_a_fixed_length_are_understood() {
    let tickets = Tickets::default();
    let ticket = tickets.issue("ANA", roles()).await.unwrap();
    assert_eq!(ticket.secret().expose_secret().len(), 32);
    let padded = Secret::from(format!("{:<128}", ticket.secret().expose_secret()));
    assert_eq!(tickets.redeem("ANA       ", &padded).await, Ok(Shown::Valid(roles())));
}

#[tokio::test]
async fn whoever_waits_no_longer_leaves_no_ticket_behind() {
    let tickets = Tickets::default();
    let ticket = tickets.issue("ANA", roles()).await.unwrap();
    let secret = ticket.secret().clone();
    assert_eq!(tickets.len(), 1);
    assert_eq!(ticket.settle().await, Ok(None));
    assert_eq!(tickets.len(), 0);
    assert_eq!(tickets.redeem("ANA", &secret).await, Ok(Shown::Unknown));
    assert_eq!(tickets.redeem("ANA", &Secret::from("")).await, Ok(Shown::Unknown));
    drop(tickets.issue("ANA", roles()).await.unwrap());
    assert_eq!(tickets.len(), 0);
}

#[test]
fn of_many_at_once_one_is_the_first() {
    let tickets = Tickets::default();
    for _ in 0..50 {
        let ticket = tickets.issue_here("ANA", roles());
        let show = || tickets.redeem_here("ANA", ticket.secret().expose_secret());
        let outcomes: Vec<Shown> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(show)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|shown| **shown == Shown::Valid(roles())).count(), 1);
        assert_eq!(outcomes.iter().filter(|shown| **shown == Shown::Unknown).count(), 7);
    }
    assert_eq!(tickets.len(), 0);
}

/// A replica's tickets of the back-end of this name.
fn replica_of(server: &Scratch, name: &str, when_down: &str) -> Arc<Tickets> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_000_000));
    let backend = Profile {
        name: name.to_owned(),
        kind: "websydian".to_owned(),
        url: Url::parse("http://canary.test").unwrap(),
        credentials: CredentialSource::None,
        login: LoginName::default(),
        limits: BackendLimits::default(),
        roles: Vec::new(),
    };
    let mut tickets = Tickets::default();
    tickets.share(&server.store_when_down(when_down, clock), &backend);
    Arc::new(tickets)
}

fn replicas<const COUNT: usize>(server: &Scratch, when_down: &str) -> [Arc<Tickets>; COUNT] {
    [(); COUNT].map(|()| replica_of(server, "canary-shop", when_down))
}

#[tokio::test]
async fn a_ticket_of_one_replica_is_good_at_every_other_once_and_its_own_hears_of_it() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    for at in [&other, &one] {
        let ticket = one.issue("ANA", roles()).await.unwrap();
        assert_eq!((ticket.secret().expose_secret().len(), one.len()), (32, 0));
        let padded = Secret::from(format!("{:<128}", ticket.secret().expose_secret()));
        assert_eq!(at.redeem("ANA   ", &padded).await, Ok(Shown::Valid(roles())));
        for replica in [&one, &other] {
            assert_eq!(replica.redeem("ANA", ticket.secret()).await, Ok(Shown::Unknown));
        }
        assert_eq!(ticket.settle().await, Ok(Some(Fate::Redeemed)));
    }
    let ticket = one.issue("ANA", roles()).await.unwrap();
    assert_eq!(other.redeem("BEN", ticket.secret()).await, Ok(Shown::ForAnother));
    assert_eq!(one.redeem("ANA", ticket.secret()).await, Ok(Shown::Unknown));
    assert_eq!(ticket.settle().await, Ok(Some(Fate::Misused)));
    assert_eq!(server.say(&["DBSIZE"]).trim(), "0", "nothing is left");
}

#[tokio::test]
async fn a_ticket_is_good_at_its_own_back_end_alone_and_shown_at_another_it_is_not_lost() {
    let server = Scratch::start().await;
    let [one, same] = replicas(&server, "refuse");
    let neighbour = replica_of(&server, "other-shop", "refuse");
    let ticket = one.issue("ANA", roles()).await.unwrap();
    assert_eq!(neighbour.redeem("ANA", ticket.secret()).await, Ok(Shown::Unknown));
    assert_eq!(same.redeem("ANA", ticket.secret()).await, Ok(Shown::Valid(roles())));
}

#[tokio::test]
async fn of_many_at_all_replicas_who_show_it_at_once_one_is_the_first() {
    let server = Scratch::start().await;
    let replicas: [_; 3] = replicas(&server, "refuse");
    for round in 0..50 {
        let ticket = replicas[round % 3].issue("ANA", roles()).await.unwrap();
        let all = (0..24).map(|number| {
            let (tickets, secret) = (Arc::clone(&replicas[number % 3]), ticket.secret().clone());
            tokio::spawn(async move { tickets.redeem("ANA", &secret).await.unwrap() })
        });
        let outcomes: Vec<Shown> = join_all(all).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes.iter().filter(|shown| **shown == Shown::Valid(roles())).count(), 1);
        assert_eq!(outcomes.iter().filter(|shown| **shown == Shown::Unknown).count(), 23);
        assert_eq!(ticket.settle().await, Ok(Some(Fate::Redeemed)));
    }
}

#[tokio::test]
async fn whoever_waits_no_longer_leaves_no_ticket_in_the_store() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let ticket = one.issue("ANA", roles()).await.unwrap();
    let left: u64 = server.say(&["PTTL", server.say(&["KEYS", "*"]).trim()]).trim().parse().unwrap();
    let life = BackendLimits::default().login_timeout.as_millis();
    assert!(left > 0 && u128::from(left) <= life, "{left}: no longer than the login may take");
    let secret = ticket.secret().clone();
    assert_eq!(ticket.settle().await, Ok(None));
    assert_eq!(other.redeem("ANA", &secret).await, Ok(Shown::Unknown));
    drop(one.issue("ANA", roles()).await.unwrap());
    let mut tries = 0;
    while server.say(&["DBSIZE"]).trim() != "0" {
        tries += 1;
        assert!(tries < 1000, "it is still there");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn nothing_of_a_ticket_can_be_read_in_the_store() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let [waiting, shown] = [one.issue("CANARY", roles()).await.unwrap(), one.issue("CANARY", roles()).await.unwrap()];
    assert_eq!(other.redeem("CANARY", shown.secret()).await, Ok(Shown::Valid(roles())));
    let everything = server.everything();
    assert_eq!(everything.matches("keyward:{").count(), 2, "{everything}");
    let secrets = [&waiting, &shown].map(|ticket| ticket.secret().expose_secret());
    for canary in ["CANARY", "canary", "SALES", "redeemed", &secrets[0][1..], &secrets[1][1..]] {
        assert!(!everything.contains(canary), "{canary}");
    }
}

#[tokio::test]
async fn without_the_store_nobody_is_told_no_and_a_ticket_is_good_where_it_was_issued_if_at_all() {
    let server = Scratch::start().await;
    let ([strict], [one, other]) = (replicas(&server, "refuse"), replicas(&server, "login"));
    let (first, second) = (strict.issue("ANA", roles()).await.unwrap(), one.issue("ANA", roles()).await.unwrap());
    server.stop();
    assert!(strict.issue("ANA", roles()).await.is_err());
    assert!(strict.redeem("ANA", first.secret()).await.is_err(), "that is no no");
    assert!(other.redeem("ANA", second.secret()).await.is_err(), "nor that");
    assert!(first.settle().await.is_err() && second.settle().await.is_err());
    let here = one.issue("ANA", roles()).await.unwrap();
    assert_eq!(other.redeem("ANA", here.secret()).await, Ok(Shown::Unknown));
    assert_eq!(one.redeem("ANA", here.secret()).await, Ok(Shown::Valid(roles())));
    assert_eq!(one.redeem("ANA", here.secret()).await, Ok(Shown::Unknown));
    assert_eq!(here.settle().await, Ok(Some(Fate::Redeemed)));
}

#[tokio::test]
async fn what_nobody_heard_of_is_neither_a_yes_nor_a_refusal() {
    let server = Scratch::start().await;
    let [one, other] = replicas(&server, "refuse");
    let ticket = one.issue("ANA", roles()).await.unwrap();
    assert_eq!(other.redeem("ANA", ticket.secret()).await, Ok(Shown::Valid(roles())));
    server.say(&["FLUSHALL"]);
    assert_eq!(ticket.settle().await, Ok(None));
    let ticket = one.issue("ANA", roles()).await.unwrap();
    let key = server.say(&["KEYS", "*"]);
    server.say(&["SET", key.trim(), "forged"]);
    assert_eq!(other.redeem("ANA", ticket.secret()).await, Ok(Shown::Unknown), "nobody of ours sealed that");
    assert_eq!(ticket.settle().await, Ok(None));
}
