use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::{Clock, ManualClock, SessionKeys};
use crate::store::scratch::Scratch;

mod ends;
mod leases;
mod sealing;
mod turns;

const BACKEND: [u8; 8] = [7; 8];
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Replicas at one server, each with a clock of its own, none of which is right.
async fn replicas<const COUNT: usize>() -> (Scratch, [Arc<Shelf>; COUNT]) {
    let server = Scratch::start().await;
    let mut wrong = 0;
    let shelves = [(); COUNT].map(|()| {
        wrong += 3_000_000_000;
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(wrong));
        Arc::new(Shelf::new(server.store(clock)))
    });
    (server, shelves)
}

fn ana() -> Holding {
    let user = "ana@example.org".to_owned();
    Holding { login: user.clone(), user, user_agent: None, address: None, accept_language: None }
}

fn record(key: &str) -> Record {
    let keys = SessionKeys::builder().cookie("sid", key).unwrap().build().unwrap();
    let (portal, session) = ("main".to_owned(), "s1".to_owned());
    Record { portal, session, expires: 4_000_000_000, backend: BACKEND, holding: ana(), keys }
}

impl Shelf {
    fn anas(&self) -> Spot {
        self.spot("main", "s1", BACKEND, &ana())
    }

    async fn yours(&self, than: Fence) -> Fence {
        match self.claim(&self.anas(), than, MINUTE).await.unwrap() {
            Claim::Yours(fence) => fence,
            other => panic!("{}", other.word()),
        }
    }

    async fn here(&self, than: Fence) -> Shelved {
        match self.claim(&self.anas(), than, MINUTE).await.unwrap() {
            Claim::Here(shelved) => *shelved,
            other => panic!("{}", other.word()),
        }
    }

    async fn keep(&self, fence: Fence, key: &str) -> Commit {
        self.commit(&self.anas(), fence, &record(key), HOUR).await.unwrap()
    }

    /// Keys put there in the usual way.
    async fn with(&self, key: &str) -> Fence {
        let fence = self.yours(0).await;
        assert_eq!(self.keep(fence, key).await, Commit::Kept);
        fence
    }
}

impl Claim {
    fn word(&self) -> &'static str {
        match self {
            Self::Here(_) => "here",
            Self::Yours(_) => "yours",
            Self::Theirs(_) => "theirs",
            Self::Revoked => "revoked",
        }
    }
}

/// Lets the server's clock go on for a moment.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
