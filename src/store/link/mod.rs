//! The connections to the store.
//!
//! [`Link`] is what the rest of the room has: questions that fail within `[store] timeout`, or at once while the
//! server that would answer is known to be away. `node` keeps in touch with one server, `sentinels` know which one
//! that is, and a `cluster` has many of them; `wire` is a connection, `trouble` what a refusal means, `way` what
//! they have in common, and `terms` what `[store]` says of all that.

mod cluster;
mod node;
mod sentinels;
pub(super) mod terms;
#[cfg(test)]
mod tests;
mod trouble;
mod way;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

pub(super) use terms::{Access, LinkTerms};

use super::script::{Answer, Script};
use super::{Place, StoreOutage};
use crate::observe::{Stopwatch, StoreMetrics};
use cluster::Cluster;
use node::{Node, Target};
use sentinels::Sentinels;
use terms::Mode;
use trouble::Trouble;
use way::Way;
use wire::Wire;

/// How long at most until the next try to reach a server that could not be reached.
pub(super) const LONGEST_PAUSE: Duration = node::PAUSES[1];

/// The way to the store, as long as the process lives.
pub(super) struct Link {
    way: Arc<Way>,
    servers: Servers,
    reader: Mutex<Option<Reader>>,
}

enum Servers {
    One(Arc<Node>),
    Cluster(Cluster),
}

/// A connection for what the server may hold back.
struct Reader {
    wire: Arc<Wire>,
    /// The connection to the same server at which others ask.
    beside: Arc<Wire>,
}

impl Link {
    /// Needs a runtime, in which the store is looked for from now on.
    pub(super) fn new(terms: LinkTerms, access: Access, metrics: StoreMetrics) -> Self {
        let way = Arc::new(Way::new(terms, access, metrics));
        let one = |target| {
            let told = Arc::clone(&way);
            Servers::One(Arc::new(Node::new(&way, target, Box::new(move |outage| told.tell(outage)))))
        };
        let servers = match (way.terms.mode, way.terms.addresses.first()) {
            (Mode::Cluster, _) => Servers::Cluster(Cluster::new(&way)),
            (Mode::Single, Some(address)) => one(Target::Server(address.clone())),
            (Mode::Sentinel, _) | (Mode::Single, None) => one(Target::Primary(Sentinels::default())),
        };
        Self { way, servers, reader: Mutex::default() }
    }

    pub(super) fn is_as_planned(&self, terms: &LinkTerms) -> bool {
        self.way.terms == *terms
    }

    /// Takes up what may change while running.
    pub(super) fn configure(&self, access: Access) {
        self.way.configure(access);
        match &self.servers {
            Servers::One(node) => node.renew(),
            Servers::Cluster(cluster) => cluster.renew(),
        }
    }

    /// Whether somebody has looked, and it was not there.
    pub(super) fn is_away(&self) -> bool {
        self.way.is_down()
    }

    /// Counts how often a connection to the store was made, or was found to work again. After each of them the
    /// server may be another one, or have forgotten everything.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.way.changes()
    }

    /// One of a place's keys, as commands have it.
    pub(super) fn key(&self, place: &Place, suffix: &str) -> String {
        place.key(&self.way.terms.prefix, suffix)
    }

    /// Runs a script on keys of this place.
    pub(super) async fn run(&self, script: &Script, place: &Place, arguments: &[&[u8]]) -> Result<Answer, StoreOutage> {
        let stopwatch = Stopwatch::start();
        let answered = self.run_uncounted(script, place, arguments).await;
        let metrics = &self.way.metrics;
        match &answered {
            Ok(_) => metrics.done.inc(),
            Err(StoreOutage::TimedOut) => metrics.timed_out.inc(),
            Err(StoreOutage::Unreachable(_)) => metrics.unreachable.inc(),
            Err(StoreOutage::Unable(_)) => metrics.unable.inc(),
            Err(StoreOutage::Down) => metrics.down.inc(),
        }
        if answered != Err(StoreOutage::Down) {
            metrics.seconds.observe(stopwatch.seconds());
        }
        answered
    }

    async fn run_uncounted(&self, script: &Script, place: &Place, arguments: &[&[u8]]) -> Result<Answer, StoreOutage> {
        let asked = Instant::now();
        let until = asked + self.way.access().timeout;
        let command = |name: &str, code: &str| {
            let mut command = redis::cmd(name);
            command.arg(code).arg(script.keys.len());
            for suffix in script.keys {
                command.arg(self.key(place, suffix));
            }
            for argument in arguments {
                command.arg(*argument);
            }
            command
        };
        let answered = match self.ask(place, &command("EVALSHA", &script.hash), until).await {
            // It was started again, or is another one. Whatever it did not know it has not done.
            Err(Trouble::NoScript) => self.ask(place, &command("EVAL", &script.code), until).await,
            answered => answered,
        };
        answered.map(|value| answer(value, asked.elapsed())).map_err(wire::outage)
    }

    async fn ask(&self, place: &Place, command: &Cmd, until: Instant) -> Result<Value, Trouble> {
        match &self.servers {
            Servers::One(node) => node.ask(command, false, until).await,
            Servers::Cluster(cluster) => cluster.ask(slot(place), command, until).await,
        }
    }

    /// Has the server answer a command on keys of this place that it may hold back for so long, such as `XREAD
    /// BLOCK`. It has a connection of its own for these, and one at a time is under way: a second one waits. While
    /// the store is down this takes up to `block` to fail, so that who reads in a loop need not wait between tries.
    /// It fails as soon as another connection to the store was made, because the server may be another one by then:
    /// see [`Link::changes`]. Dropping it is no failure.
    pub(super) async fn blocking(&self, place: &Place, command: Cmd, block: Duration) -> Result<Value, StoreOutage> {
        let mut held = self.reader.lock().await;
        let until = Instant::now() + block;
        let asked = self.ask_reader(&mut held, place, &command, until).await;
        if matches!(&asked, Err(StoreOutage::Down | StoreOutage::Unreachable(_) | StoreOutage::Unable(_))) {
            let soon = Instant::now() + Duration::from_millis(200);
            tokio::time::sleep_until(soon.min(until)).await;
        }
        asked
    }

    async fn ask_reader(
        &self,
        held: &mut Option<Reader>,
        place: &Place,
        command: &Cmd,
        until: Instant,
    ) -> Result<Value, StoreOutage> {
        let node = match &self.servers {
            Servers::One(node) => Arc::clone(node),
            Servers::Cluster(cluster) => cluster.node(slot(place), until).await?,
        };
        let beside = node.connected(until).await?;
        let access = Arc::clone(&self.way.access());
        // What was dropped half-way would have its answer come first, so that it is not put back.
        let wire = match held.take() {
            Some(reader) if Arc::ptr_eq(&reader.beside, &beside) && !reader.wire.has_ended() => reader.wire,
            _ => {
                let dialled = timeout(access.timeout.saturating_mul(2), self.way.dial(&beside.address)).await;
                dialled.unwrap_or(Err(StoreOutage::TimedOut))?
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        tokio::select! {
            answered = timeout(left + access.timeout, wire.ask(command, false)) => match answered {
                Ok(Ok(value)) => {
                    *held = Some(Reader { wire, beside });
                    Ok(value)
                }
                Ok(Err(trouble)) => {
                    // This one notices first when the server goes.
                    self.look(&node);
                    Err(wire::outage(trouble))
                }
                Err(_) => {
                    self.look(&node);
                    Err(StoreOutage::TimedOut)
                }
            },
            () = node.left(&beside) => Err(StoreOutage::Unreachable("another connection was made".to_owned())),
        }
    }

    fn look(&self, node: &Node) {
        node.look();
        if let Servers::Cluster(cluster) = &self.servers {
            cluster.look();
        }
    }
}

fn slot(place: &Place) -> u16 {
    // What stands between the braces of its keys.
    cluster::slot(format!("{place:?}").as_bytes())
}

fn answer(value: Value, took: Duration) -> Answer {
    let text = |value| match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    };
    match value {
        Value::Array(values) => Answer::new(values.into_iter().map(text).collect(), took),
        other => Answer::new(vec![text(other)], took),
    }
}
