//! Very many sign-outs that stand.

use futures_util::future::join_all;
use keyward::domain::{Clock, SystemClock};
use keyward::store::Event;

use crate::readiness::config;
use crate::real::redis::Redis;
use crate::replica::Replica;
use crate::support::{Setup, Sidecar, until};

/// Eighty pages of them. Sealing takes a program that is built for tests a hundred times as long as any other, so
/// that more would only take longer.
const MANY: usize = 20_000;
/// Told side by side.
const AT_ONCE: usize = 500;
/// Memory that one of them takes of a replica at most, in bytes. It is some 500 for one that was read, and twice as much with what is left of the messages.
const EACH: u64 = 2500;

async fn ready(server: &Redis) -> Sidecar {
    let sidecar = Setup::new(&config(server, "timeout = \"10s\"")).start().await;
    until("readiness", || async { sidecar.operator("/readyz").await.status == 200 }).await;
    sidecar
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_starts_has_read_all_of_them_when_it_is_ready_and_is_not_filled_by_them() {
    let server = Redis::start().await;
    let (early, teller) = (ready(&server).await, Replica::at(server.address()));
    let empty = early.memory();
    let end = SystemClock::new().unix() + 3600;
    for first in (0..MANY).step_by(AT_ONCE) {
        let tell = |number: usize| {
            let session = format!("a-session-of-somebody-{number:06}");
            teller.store.tell(Event::SessionEnded { portal: "customers".to_owned(), session, until: end, asked: 0 })
        };
        assert!(join_all((first..first + AT_ONCE).map(tell)).await.iter().all(Result::is_ok));
    }
    let heard = "keyward_store_events_total{outcome=\"heard\"}";
    until("all of them", || async { early.metric(heard).await >= MANY as f64 }).await;
    let late = ready(&server).await;
    assert_eq!(late.metric(heard).await, MANY as f64, "before it was ready");
    for (name, sidecar) in [("told", &early), ("read", &late)] {
        let each = sidecar.memory().saturating_sub(empty) / MANY as u64;
        eprintln!("one that was {name} takes {each} bytes");
        assert!(each < EACH, "{each} bytes for one that was {name}");
    }
}
