//! Many servers that share the keys between them.
//!
//! Not by the library's own client for Clusters: that one locks out everybody while it looks for the nodes again,
//! for as long as one that hangs keeps it waiting, and after a connection broke it asks a second time what may
//! have been done already.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{Cmd, Value};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::node::{Node, Target, pause};
use super::sentinels::text;
use super::terms::Address;
use super::trouble::{Trouble, is_of_login, node_address};
use super::way::Way;
use super::wire::{Wire, outage};
use crate::store::StoreOutage;

/// Slots of every Cluster.
const SLOTS: usize = 16384;
/// Time between two looks at who has which slots, while all is well and while it is not.
const LOOK_EVERY: [Duration; 2] = [Duration::from_secs(10), Duration::from_millis(500)];
/// The least time between two looks, however often somebody is sent elsewhere.
const LOOK_AFTER: Duration = Duration::from_millis(50);
/// Longest time that one node is waited for that is to say who has which slots, however long the store may take.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// How often one question is sent elsewhere.
const MOST_HOPS: usize = 8;

/// A Cluster, with whoever keeps in touch with it.
pub(super) struct Cluster {
    kept: Arc<Kept>,
    keeper: AbortHandle,
}

struct Kept {
    way: Arc<Way>,
    map: watch::Sender<Map>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    /// Somebody has a reason to look now.
    look: Arc<Notify>,
}

#[derive(Clone)]
enum Map {
    /// Nothing is known yet. Whoever asks waits.
    Connecting,
    Known(Arc<Slots>),
    /// Nobody could tell yet. Whoever asks is told so at once.
    Down,
}

/// Who has which slots.
struct Slots {
    /// By slot: the index of its node.
    holders: Vec<Option<u16>>,
    nodes: Vec<Arc<Node>>,
    /// Whether the Cluster serves anybody, as far as they know who said so.
    is_served: bool,
}

/// The same as one node told it.
struct Told {
    holders: Vec<Option<u16>>,
    addresses: Vec<Address>,
    is_served: bool,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Cluster {
    /// Needs a runtime in which the nodes are kept in touch with.
    pub fn new(way: &Arc<Way>) -> Self {
        let kept = Arc::new(Kept {
            way: Arc::clone(way),
            map: watch::Sender::new(Map::Connecting),
            nodes: Mutex::default(),
            look: Arc::default(),
        });
        let keeper = tokio::spawn(Arc::clone(&kept).keep()).abort_handle();
        Self { kept, keeper }
    }

    /// Asks whoever has the slot, wherever that was moved by now.
    pub async fn ask(&self, slot: u16, command: &Cmd, until: Instant) -> Result<Value, Trouble> {
        let mut node = self.node(slot, until).await?;
        let mut is_asking = false;
        for _ in 0..MOST_HOPS {
            match node.ask(command, is_asking, until).await {
                Err(Trouble::Elsewhere { to, asking }) => {
                    if !asking {
                        self.kept.look.notify_one();
                    }
                    (node, is_asking) = (self.kept.node_at(&to), asking);
                }
                Err(Trouble::TryAgain) => {
                    // A part of the place is at one node and a part at the other, until all of it has come.
                    let next = Instant::now() + Duration::from_millis(20);
                    sleep_until(next.min(until)).await;
                    (node, is_asking) = (self.node(slot, until).await?, false);
                }
                Err(Trouble::Outage(outage)) => {
                    if outage != StoreOutage::TimedOut {
                        self.kept.look.notify_one();
                    }
                    return Err(outage.into());
                }
                answer => return answer,
            }
        }
        Err(Trouble::TryAgain)
    }

    /// Who has the slot.
    pub async fn node(&self, slot: u16, until: Instant) -> Result<Arc<Node>, StoreOutage> {
        let mut maps = self.kept.map.subscribe();
        let known = maps.wait_for(|map| !matches!(map, Map::Connecting));
        let Ok(known) = timeout_at(until, known).await else { return Err(StoreOutage::TimedOut) };
        match known.map(|map| map.clone()) {
            Ok(Map::Known(slots)) => slots.holder(slot).ok_or_else(|| StoreOutage::Unable("CLUSTERDOWN".to_owned())),
            Ok(Map::Connecting | Map::Down) | Err(_) => Err(StoreOutage::Down),
        }
    }

    /// Has new connections made, because the settings have changed.
    pub fn renew(&self) {
        self.kept.nodes.lock().values().for_each(|node| node.renew());
        self.kept.look.notify_one();
    }

    /// Has it look at once whether all is well.
    pub fn look(&self) {
        self.kept.look.notify_one();
    }
}

impl Slots {
    fn holder(&self, slot: u16) -> Option<Arc<Node>> {
        let holder = (*self.holders.get(usize::from(slot))?)?;
        self.nodes.get(usize::from(holder)).cloned()
    }

    /// Whether every slot is served.
    fn are_all_there(&self) -> Result<(), StoreOutage> {
        if !self.is_served || self.holders.iter().any(Option::is_none) {
            return Err(StoreOutage::Unable("CLUSTERDOWN".to_owned()));
        }
        match self.nodes.iter().all(|node| node.wire_now().is_some()) {
            true => Ok(()),
            false => Err(StoreOutage::Unreachable("a node of the Cluster does not answer".to_owned())),
        }
    }
}

impl Kept {
    /// Keeps in touch, for ever.
    async fn keep(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            let looked = self.look_for_slots().await;
            failures = if looked.is_ok() { 0 } else { failures + 1 };
            let told = match looked {
                Ok(slots) => {
                    self.map.send_replace(Map::Known(Arc::clone(&slots)));
                    slots.are_all_there()
                }
                Err(outage) => {
                    self.map.send_if_modified(|map| {
                        let was_awaited = matches!(map, Map::Connecting);
                        if was_awaited {
                            *map = Map::Down;
                        }
                        was_awaited
                    });
                    Err(outage)
                }
            };
            // Nodes that we have just heard of are not there yet, which is no loss.
            let is_settled = failures > 0 || !self.nodes.lock().values().any(|node| node.is_connecting());
            if is_settled {
                self.way.tell(told.as_ref().err());
            }
            let [calm, troubled] = LOOK_EVERY;
            if failures > 0 {
                // However many ask, and so have a reason to look: nobody answers, and all replicas would try.
                sleep(pause(failures)).await;
                continue;
            }
            let every = if told.is_ok() { calm } else { troubled };
            sleep(LOOK_AFTER).await;
            let _ = timeout(every.mul_f64(rand::random_range(0.8..1.2)), self.look.notified()).await;
        }
    }

    /// The node at this address, kept in touch with from now on.
    fn node_at(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock();
        let new = || {
            let look = Arc::clone(&self.look);
            Arc::new(Node::new(&self.way, Target::Server(address.clone()), Box::new(move |_| look.notify_one())))
        };
        Arc::clone(nodes.entry(address.clone()).or_insert_with(new))
    }

    /// Asks any node that answers who has which slots. Another one each time, and the next where one says that the
    /// Cluster serves nobody: that may be cut off from the others, and not know what they have agreed upon.
    async fn look_for_slots(&self) -> Result<Arc<Slots>, StoreOutage> {
        let access = Arc::clone(&self.way.access());
        let patience = access.timeout.min(ASK_WITHIN);
        let mut wires: Vec<Arc<Wire>> = self.nodes.lock().values().filter_map(|node| node.wire_now()).collect();
        if !wires.is_empty() {
            let first = rand::random_range(0..wires.len());
            wires.rotate_left(first);
        }
        let mut last = StoreOutage::Unreachable("no node of the Cluster answers".to_owned());
        let mut second = None;
        for wire in wires {
            match timeout(patience, ask_for_slots(&wire)).await {
                Ok(Ok(told)) if told.is_served => return Ok(self.take(told)),
                Ok(Ok(told)) => second = Some(told),
                Ok(Err(outage)) => last = outage,
                Err(_) => last = StoreOutage::TimedOut,
            }
        }
        for address in &self.way.terms.addresses {
            let asking = async { ask_for_slots(&*self.way.dial(address).await?).await };
            match timeout(patience, asking).await {
                Ok(Ok(told)) if told.is_served => return Ok(self.take(told)),
                Ok(Ok(told)) => second = Some(told),
                Ok(Err(outage)) => last = outage,
                Err(_) => last = StoreOutage::TimedOut,
            }
        }
        if is_of_login(&last) {
            self.way.tell_refused(&last);
        }
        second.map(|told| self.take(told)).ok_or(last)
    }

    /// Keeps in touch with these, and with no others.
    fn take(&self, told: Told) -> Arc<Slots> {
        let Told { holders, addresses, is_served } = told;
        let nodes = addresses.iter().map(|address| self.node_at(address)).collect();
        self.nodes.lock().retain(|address, _| addresses.contains(address));
        Arc::new(Slots { holders, nodes, is_served })
    }
}

async fn ask_for_slots(wire: &Wire) -> Result<Told, StoreOutage> {
    let answer = wire.ask(redis::cmd("CLUSTER").arg("SLOTS"), false).await.map_err(outage)?;
    let mut addresses: Vec<Address> = Vec::new();
    let mut holders = vec![None; SLOTS];
    for (first, last, address) in ranges(&answer, &wire.address) {
        let index = addresses.iter().position(|other| *other == address).unwrap_or_else(|| {
            addresses.push(address);
            addresses.len() - 1
        });
        if let Some(range) = holders.get_mut(first..=last) {
            range.fill(u16::try_from(index).ok());
        }
    }
    if addresses.is_empty() {
        return Err(StoreOutage::Unable("CLUSTERDOWN".to_owned()));
    }
    let is_served = match wire.ask(redis::cmd("CLUSTER").arg("INFO"), false).await {
        Ok(state) => !text(&state).is_some_and(|state| state.contains("cluster_state:fail")),
        // Or whoever we are may not ask for that.
        Err(Trouble::Outage(StoreOutage::Unable(_))) => true,
        Err(trouble) => return Err(outage(trouble)),
    };
    Ok(Told { holders, addresses, is_served })
}

/// The answer to `CLUSTER SLOTS`: first and last slot, and their primary.
fn ranges(answer: &Value, asked: &Address) -> Vec<(usize, usize, Address)> {
    let Value::Array(ranges) = answer else { return Vec::new() };
    let range = |range: &Value| {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else { return None };
        let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
        let named = format!("{}:{port}", text(host).unwrap_or_default());
        let slots = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
        (slots.0 <= slots.1).then_some((slots.0, slots.1, node_address(&named, asked)?))
    };
    ranges.iter().filter_map(range).collect()
}

/// Where a key stands of which this is between the braces.
pub(super) fn slot(tag: &[u8]) -> u16 {
    // CRC-16/XMODEM, as the specification of Redis Cluster has it.
    let crc = tag.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    });
    crc % 16384
}
