//! Which server is asked: the first one that works.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::codes::Failure;
use super::server::Server;
use crate::domain::Outage;

/// All servers of a directory, in the order in which they are asked.
pub(super) struct Servers {
    portal: String,
    servers: Vec<Server>,
    /// Longest time that one question takes at one server, and that it waits for its place.
    timeout: Duration,
    places: Semaphore,
}

impl Servers {
    /// `most` is how many questions there are at once.
    pub(super) fn new(portal: &str, servers: Vec<Server>, timeout: Duration, most: usize) -> Self {
        Self { portal: portal.to_owned(), servers, timeout, places: Semaphore::new(most) }
    }

    /// The longest wait for a place and then for every server in turn.
    pub(super) fn longest_answer(&self) -> Duration {
        self.timeout.saturating_mul(u32::try_from(self.servers.len()).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// Waits for a place. Those who wait too long say nothing of any server.
    pub(super) async fn place(&self) -> Result<SemaphorePermit<'_>, Outage> {
        match tokio::time::timeout(self.timeout, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Outage::Throttled { retry_after: None }),
        }
    }

    /// Asks one server after the other, until one answers.
    pub(super) async fn ask<'a, T>(
        &'a self,
        question: impl Fn(&'a Server) -> BoxFuture<'a, Result<T, Failure>>,
    ) -> Result<T, Outage> {
        let mut last = None;
        let mut earliest = Duration::MAX;
        for server in &self.servers {
            let leave = match server.rest.enter() {
                Ok(leave) => leave,
                Err(left) => {
                    earliest = earliest.min(left);
                    continue;
                }
            };
            let answer = tokio::time::timeout(self.timeout, question(server)).await;
            let outage = match answer.unwrap_or(Err(Failure::Server(Outage::TimedOut))) {
                Ok(answer) => {
                    self.works(server);
                    return Ok(answer);
                }
                Err(Failure::Server(outage)) => {
                    if let Some(pause) = server.rest.failed(&leave) {
                        let (portal, server, seconds) = (&*self.portal, &*server.url, pause.as_secs());
                        tracing::warn!(portal, server, %outage, seconds, "a server of the directory is left alone");
                    }
                    outage
                }
                Err(Failure::Question(outage)) => {
                    self.works(server);
                    let (portal, server) = (&*self.portal, &*server.url);
                    tracing::warn!(portal, server, %outage, "a server of the directory did not answer");
                    outage
                }
                Err(Failure::Final(outage)) => return Err(outage),
            };
            last = Some(outage);
        }
        Err(last.unwrap_or(Outage::BackingOff { retry_after: earliest }))
    }

    /// Waits for one last answer, for which no other server may be asked.
    pub(super) async fn last<T>(&self, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Outage> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Failure::Server(outage) | Failure::Question(outage) | Failure::Final(outage))) => Err(outage),
            Err(_) => Err(Outage::TimedOut),
        }
    }

    fn works(&self, server: &Server) {
        if server.rest.works() {
            let (portal, server) = (&*self.portal, &*server.url);
            tracing::info!(portal, server, "a server of the directory works again");
        }
    }
}
