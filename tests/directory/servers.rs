//! Several servers, servers that come and go, and how connections to them are kept safe.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use keyward::demo::process::free_address;
use keyward::domain::{ManualClock, Outage};

use crate::liars::{Does, Liar, message, result};
use crate::real::slapd::{BASE, Options, READER, Slapd};
use crate::stage::{SECOND, Stage, directory, people, searching, timed, user};

#[tokio::test]
async fn the_next_server_is_asked_while_the_first_one_is_away_and_not_while_it_is_there() {
    let away = Liar::start(|_, _| Does::Ends(vec![])).await;
    let stage = Stage::open().await;
    let clock = Arc::new(ManualClock::at(0));
    let text = format!("servers = [\"ldap://{}\", \"{}\"]\n{}", away.address, stage.slapd.url(), searching());
    let directory = timed(&text, &clock);
    let tries = || away.connections.load(Ordering::SeqCst);
    let mut before = 0;
    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        for _ in 0..5 {
            assert!(user(&directory, "alice", "wonderland").await.unwrap().is_some());
            assert_eq!(user(&directory, "alice", "wrong").await, Ok(None));
        }
        assert_eq!(tries(), before + 1, "it was left alone for {pause} s");
        before = tries();
        clock.advance(pause * SECOND);
    }
}

#[tokio::test]
async fn a_dead_directory_is_an_outage_that_is_not_stormed() {
    let away = Liar::start(|_, _| Does::Ends(vec![])).await;
    let nowhere = free_address().unwrap();
    let clock = Arc::new(ManualClock::at(0));
    let text = format!("servers = [\"ldap://{}\", \"ldap://{nowhere}\"]\n{}", away.address, searching());
    let directory = timed(&text, &clock);
    assert!(matches!(user(&directory, "alice", "wonderland").await, Err(Outage::Unreachable(_))));
    for _ in 0..20 {
        let outcome = user(&directory, "alice", "wonderland").await;
        assert_eq!(outcome, Err(Outage::BackingOff { retry_after: SECOND }));
        assert!(directory.look_up("alice").await.is_err());
    }
    assert_eq!(away.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_directory_that_comes_back_is_found_again() {
    let mut stage = Stage::open().await;
    let clock = Arc::new(ManualClock::at(0));
    let directory = timed(&stage.search(), &clock);
    assert!(user(&directory, "alice", "wonderland").await.unwrap().is_some());
    // Nobody asked while it was away: only the kept connection is dead.
    stage.slapd.stop();
    stage.slapd.start_again().await.unwrap();
    assert!(user(&directory, "alice", "wonderland").await.unwrap().is_some());
    stage.slapd.stop();
    assert!(matches!(user(&directory, "alice", "wonderland").await, Err(Outage::Unreachable(_))));
    stage.slapd.start_again().await.unwrap();
    assert!(matches!(user(&directory, "alice", "wonderland").await, Err(Outage::BackingOff { .. })));
    clock.advance(SECOND);
    assert!(user(&directory, "alice", "wonderland").await.unwrap().is_some());
}

#[tokio::test]
async fn kept_connections_are_our_accounts_and_persons_have_their_own() {
    let stage = Stage::open().await;
    let directory = directory(&stage.search());
    for _ in 0..5 {
        assert!(user(&directory, "alice", "wonderland").await.unwrap().is_some());
        assert!(user(&directory, "bob", "builder").await.unwrap().is_some());
        assert_eq!(user(&directory, "bob", "wrong").await, Ok(None));
    }
    let mut connections: HashMap<String, (Vec<String>, usize)> = HashMap::new();
    for line in stage.slapd.log().lines() {
        let Some(connection) = line.split("conn=").nth(1).and_then(|rest| rest.split(' ').next()) else { continue };
        let known = connections.entry(connection.to_owned()).or_default();
        if let Some(rest) = line.split(" BIND dn=\"").nth(1).filter(|rest| rest.contains("method=")) {
            known.0.push(rest.split('"').next().unwrap().to_owned());
        }
        known.1 += usize::from(line.contains(" SRCH base="));
    }
    let searched: Vec<_> = connections.values().filter(|(_, searches)| *searches > 0).collect();
    assert_eq!(searched.len(), 1, "one after the other takes one connection: {connections:?}");
    assert_eq!(searched[0], &(vec![READER.to_owned()], 15));
    assert!(connections.values().all(|(binds, _)| binds.len() <= 1), "{connections:?}");
}

#[tokio::test]
async fn many_at_once_wait_for_their_places_and_all_come_in() {
    let stage = Stage::open().await;
    let directory = Arc::new(directory(&(stage.search() + "connections = 2\ntimeout = \"20s\"\n")));
    let people = (0..60).map(|index| {
        let directory = Arc::clone(&directory);
        tokio::spawn(async move {
            let (name, password) = if index % 2 == 0 { ("alice", "wonderland") } else { ("bob", "builder") };
            let wrong = if index % 3 == 0 { "wrong" } else { password };
            let found = user(&directory, name, wrong).await.unwrap();
            assert_eq!(found.as_deref(), (wrong == password).then_some(name));
        })
    });
    for person in people.collect::<Vec<_>>() {
        person.await.unwrap();
    }
}

#[tokio::test]
async fn tls_is_believed_only_with_the_right_certificate() {
    let stage = Stage::open().await;
    let home = tempfile::tempdir().unwrap();
    let options =
        Options { certified_as: Some("elsewhere.example.test".to_owned()), ldif: people(), ..Options::default() };
    let elsewhere = Slapd::start(home.path(), options).await.unwrap();
    for (slapd, authority, trusted) in [
        (&stage.slapd, Some(&stage.slapd), true),
        (&stage.slapd, Some(&elsewhere), false),
        (&stage.slapd, None, false),
        (&elsewhere, Some(&elsewhere), false),
    ] {
        let file = authority.map(|authority| format!("ca_file = {:?}\n", authority.authority().to_str().unwrap()));
        for (url, start_tls) in [(slapd.tls_url(), false), (slapd.url(), true)] {
            let text = format!(
                "servers = [\"{url}\"]\nstarttls = {start_tls}\n{}{}",
                file.as_deref().unwrap_or(""),
                searching()
            );
            let start = slapd.log().len();
            let outcome = user(&directory(&text), "alice", "wonderland").await;
            assert_eq!(outcome.is_ok(), trusted, "{url} {outcome:?}");
            assert_eq!(matches!(outcome, Err(Outage::Protocol(_))), !trusted, "{url} {outcome:?}");
            let log = slapd.log()[start..].to_owned();
            assert_eq!(log.contains(" BIND dn="), trusted, "{log}");
            assert_eq!(log.contains("TLS established"), trusted, "{log}");
        }
    }
}

#[tokio::test]
async fn a_socket_is_a_server_too() {
    let stage = Stage::open().await;
    let text = stage.search().replace(&stage.slapd.url(), &stage.slapd.socket_url());
    assert_eq!(user(&directory(&text), "alice", "wonderland").await, Ok(Some("alice".to_owned())));
}

#[tokio::test]
async fn a_server_that_does_not_answer_this_question_is_asked_the_next_one_and_a_busy_one_is_not() {
    for (code, tries) in [(1_u8, 3), (80, 3), (51, 1), (52, 1)] {
        let odd = Liar::start(move |id, operation| Does::Says(message(id, operation + 1, &result(&[code])))).await;
        let stage = Stage::open().await;
        let base = format!("uid={{login}},ou=people,{BASE}");
        let text = format!("servers = [\"ldap://{}\", \"{}\"]\ndn = \"{base}\"\n", odd.address, stage.slapd.url());
        let directory = directory(&text);
        for _ in 0..3 {
            assert!(user(&directory, "alice", "wonderland").await.unwrap().is_some());
        }
        assert_eq!(odd.connections.load(Ordering::SeqCst), tries, "{code}");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_used_for_a_minute_is_not_used_again() {
    let stage = Stage::open().await;
    let clock = Arc::new(ManualClock::at(0));
    let directory = timed(&stage.search(), &clock);
    let binds = || stage.slapd.log().matches(&format!("BIND dn=\"{READER}\" method")).count();
    for (pause, expected) in [(0, 1), (59, 1), (59, 1), (60, 2), (0, 2)] {
        clock.advance(pause * SECOND);
        assert!(directory.look_up("alice").await.unwrap().is_some());
        assert_eq!(binds(), expected, "after {pause} s");
    }
}
