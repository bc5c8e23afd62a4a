//! What all connections to the store have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::terms::{Access, Address, LinkTerms};
use super::wire::Wire;
use crate::observe::StoreMetrics;
use crate::store::StoreOutage;

/// How the store is reached, and what has been told of that.
pub(super) struct Way {
    pub terms: LinkTerms,
    access: ArcSwap<Access>,
    pub metrics: StoreMetrics,
    made: watch::Sender<u64>,
    /// Whether it was there when somebody last looked; nothing before anybody has.
    is_up: Mutex<Option<bool>>,
    /// Whether it was ever there.
    was_up: AtomicBool,
    /// Whether the log has that we are refused.
    is_refused: AtomicBool,
}

impl Way {
    pub fn new(terms: LinkTerms, access: Access, metrics: StoreMetrics) -> Self {
        Self {
            terms,
            access: ArcSwap::from_pointee(access),
            metrics,
            made: watch::Sender::new(0),
            is_up: Mutex::default(),
            was_up: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
        }
    }

    pub fn access(&self) -> Guard<Arc<Access>> {
        self.access.load()
    }

    pub fn configure(&self, access: Access) {
        self.access.store(Arc::new(access));
    }

    /// Makes a connection to a server that has what we keep.
    pub async fn dial(&self, address: &Address) -> Result<Arc<Wire>, StoreOutage> {
        let access = self.access.load_full();
        let wire = Wire::dial(&access, address, &access.login, self.terms.database).await?;
        self.is_refused.store(false, Ordering::Relaxed);
        Ok(wire)
    }

    /// A connection was made.
    pub fn made(&self) {
        self.made.send_modify(|made| *made += 1);
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.made.subscribe()
    }

    /// Whether it was not there when somebody last looked.
    pub fn is_down(&self) -> bool {
        *self.is_up.lock() == Some(false)
    }

    /// Notes that the store is there, or why it is not. The log has each change once.
    pub fn tell(&self, outage: Option<&StoreOutage>) {
        let mut is_up = self.is_up.lock();
        let before = is_up.replace(outage.is_none());
        self.metrics.up.set(i64::from(outage.is_none()));
        match (before, outage) {
            (Some(true), None) | (Some(false), Some(_)) => {}
            (_, Some(outage)) => tracing::warn!(%outage, "the store is lost; it is looked for until it is back"),
            (_, None) if self.was_up.swap(true, Ordering::Relaxed) => tracing::info!("the store is back"),
            (_, None) => tracing::info!("the store is reached"),
        }
    }

    /// Notes that a server does not take us for who we say we are.
    pub fn tell_refused(&self, outage: &StoreOutage) {
        if !self.is_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %outage,
                "the store refuses us; compare [store] user and password, or what its password_file holds, with its ACL"
            );
        }
    }
}
