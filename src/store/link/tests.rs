use std::time::Duration;

use futures_util::FutureExt;
use redis::{Cmd, Value};

use super::Link;
use crate::observe::Metrics;
use crate::store::scratch::Scratch;
use crate::store::{Place, StoreOutage, StorePlan};

const BLOCK: Duration = Duration::from_secs(60);

fn link(server: &Scratch) -> Link {
    let StorePlan { terms, access, .. } = server.plan("refuse", &["seals seals seals seals seals 32!"]);
    Link::new(terms, access, Metrics::new().store())
}

const PLACE: &Place = &Place::from_bytes([7; 16]);
const OTHER: &Place = &Place::from_bytes([1; 16]);

/// What comes into a list, as soon as something does.
fn pop(link: &Link) -> Cmd {
    let mut command = redis::cmd("BLPOP");
    command.arg(link.key(PLACE, "list")).arg(BLOCK.as_secs());
    command
}

fn push(server: &Scratch, link: &Link, text: &str) {
    server.say(&["RPUSH", &link.key(PLACE, "list"), text]);
}

fn came(answer: Result<Value, StoreOutage>) -> String {
    match answer {
        Ok(Value::Array(parts)) => super::sentinels::text(&parts[1]).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn new_settings_are_tried_until_the_server_takes_them() {
    let server = Scratch::start().await;
    server.say(&["CONFIG", "SET", "requirepass", "hidden"]);
    let access = |lines| server.plan_with(lines, &["seals seals seals seals seals 32!"]).access;
    let StorePlan { terms, access: first, .. } =
        server.plan_with("password = \"hidden\"", &["seals seals seals seals seals 32!"]);
    let metrics = Metrics::new();
    let link = Link::new(terms, first, metrics.store());
    let mut changes = link.changes();
    changes.wait_for(|made| *made == 1).await.unwrap();
    link.configure(access("user = \"keyward\"\npassword = \"hidden\""));
    let say = |words: &[&str]| server.say(&[&["-a", "hidden", "--no-auth-warning"], words].concat());
    while !say(&["ACL", "LOG"]).contains("keyward") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(link.run(&crate::store::script::GET, PLACE, &[]).await.map(|answer| answer.len()), Ok(1));
    say(&["ACL", "SETUSER", "keyward", "on", ">hidden", "allkeys", "+@all"]);
    changes.wait_for(|made| *made == 2).await.unwrap();
    assert!(say(&["CLIENT", "LIST"]).contains("user=keyward"));
}

#[tokio::test]
async fn what_the_server_holds_back_keeps_nobody_else_waiting() {
    let server = Scratch::start().await;
    let link = link(&server);
    let mut waiting = std::pin::pin!(link.blocking(PLACE, pop(&link), BLOCK));
    let get = || link.run(&crate::store::script::GET, OTHER, &[]);
    let mut asked = 0;
    while asked < 20 {
        tokio::select! {
            answer = &mut waiting => panic!("{answer:?}"),
            answer = get() => assert!(answer.is_ok()),
        }
        asked += 1;
    }
    push(&server, &link, "first");
    assert_eq!(came(waiting.await), "first");
}

#[tokio::test]
async fn a_read_that_is_dropped_answers_nobody_else() {
    let server = Scratch::start().await;
    let link = link(&server);
    push(&server, &link, "first");
    assert_eq!(came(link.blocking(PLACE, pop(&link), BLOCK).await), "first");
    let mut dropped = Box::pin(link.blocking(PLACE, pop(&link), BLOCK));
    assert!((&mut dropped).now_or_never().is_none());
    let blocked = || server.say(&["INFO", "clients"]).contains("blocked_clients:1");
    while !blocked() {
        assert!((&mut dropped).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(dropped);
    while blocked() {
        tokio::task::yield_now().await;
    }
    push(&server, &link, "second");
    assert_eq!(came(link.blocking(PLACE, pop(&link), BLOCK).await), "second");
}

#[tokio::test]
async fn a_read_ends_with_the_connection_and_goes_on_with_the_next() {
    let server = Scratch::start().await;
    let link = link(&server);
    let mut changes = link.changes();
    changes.wait_for(|made| *made == 1).await.unwrap();
    let waiting = link.blocking(PLACE, pop(&link), BLOCK);
    let ending = async {
        while !server.say(&["INFO", "clients"]).contains("blocked_clients:1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.say(&["CLIENT", "KILL", "TYPE", "normal"]);
    };
    let (answer, ()) = tokio::join!(waiting, ending);
    assert!(matches!(answer, Err(StoreOutage::Unreachable(_))), "{answer:?}");
    changes.wait_for(|made| *made > 1).await.unwrap();
    push(&server, &link, "after");
    let mut answer = link.blocking(PLACE, pop(&link), BLOCK).await;
    while answer.is_err() {
        answer = link.blocking(PLACE, pop(&link), BLOCK).await;
    }
    assert_eq!(came(answer), "after");
}
