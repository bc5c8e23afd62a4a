use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::shelf::Fence;
use crate::domain::UnixSeconds;

/// What an entry knows of its record on the shelf. Without other replicas it stands as it was made.
#[derive(Default)]
pub(super) struct Shelving {
    /// The latest that was seen here; zero where there was none.
    fence: AtomicU64,
    /// When the portal session ends by itself.
    expires: AtomicU64,
    /// How often the store had lost things when the record was put there.
    losses: AtomicU32,
    /// Whether the keys that are held are those of that fence. Keys that were got while the store could not be asked
    /// are not, and are offered later.
    there: AtomicBool,
    /// Whether it was this replica that signed in to get the keys.
    own: AtomicBool,
    /// What was said last of when somebody looks at the record again.
    promise: AtomicU8,
}

/// When whoever has an entry will look after its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// Nothing was said.
    None = 0,
    /// When the next keep-alive is due.
    Refresh = 1,
    /// When it is idle.
    Idle = 2,
}

impl Shelving {
    /// The latest fence that was seen, whether or not the keys are of it.
    pub(super) fn latest(&self) -> Fence {
        self.fence.load(Ordering::Relaxed)
    }

    /// The fence of the keys, if they are on the shelf.
    pub(super) fn fence(&self) -> Option<Fence> {
        self.there.load(Ordering::Relaxed).then(|| self.latest())
    }

    /// The keys are on the shelf under this fence, since before the store lost things for the next time.
    pub(super) fn put(&self, fence: Fence, losses: u32) {
        self.fence.store(fence, Ordering::Relaxed);
        self.losses.store(losses, Ordering::Relaxed);
        self.promise.store(Promise::None as u8, Ordering::Relaxed);
        self.there.store(true, Ordering::Relaxed);
    }

    /// The keys are not those on the shelf, of which nothing later than this was seen.
    pub(super) fn keep_apart(&self, seen: Fence) {
        self.fence.fetch_max(seen, Ordering::Relaxed);
        self.there.store(false, Ordering::Relaxed);
    }

    /// Notes whether this replica has signed in for the keys, or has them from another.
    pub(super) fn are_own(&self, own: bool) {
        self.own.store(own, Ordering::Relaxed);
    }

    /// Whether it was this replica that signed in for them.
    pub(super) fn is_own(&self) -> bool {
        self.own.load(Ordering::Relaxed)
    }

    /// Whether the store may have lost the record since it was put there.
    pub(super) fn may_be_lost(&self, losses: u32) -> bool {
        self.losses.load(Ordering::Relaxed) != losses
    }

    pub(super) fn expires(&self) -> UnixSeconds {
        self.expires.load(Ordering::Relaxed)
    }

    pub(super) fn expire_at(&self, expires: UnixSeconds) {
        self.expires.store(expires, Ordering::Relaxed);
    }

    /// Notes what is said, and whether that is anything new.
    pub(super) fn promise(&self, promise: Promise) -> bool {
        self.promise.swap(promise as u8, Ordering::Relaxed) != promise as u8
    }
}
