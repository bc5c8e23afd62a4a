//! What replicas share of their keys: a record for each back-end session, and the lease of whoever logs in.
//!
//! The shelf knows records, leases, turns and ends as they stand in the store, one script for each step; it does
//! not know who wants keys, nor how they are got.

mod record;

use std::sync::Arc;
use std::time::Duration;

use super::refusals::Fingerprint;
use crate::backend::Refusal;
use crate::domain::UnixSeconds;
use crate::store::{Place, Store, StoreOutage};

pub(super) use record::{Holding, Record};

/// A number that only ever grows: whoever got a later one knows better. Zero is none.
pub(super) type Fence = u64;

/// Where a record stands: all of one portal session stand together, each under its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    /// The portal session's place.
    pub session: Place,
    /// Which of its back-end sessions: a keyed hash of back-end, user, login and what it is bound to.
    pub entry: Place,
}

/// How old things are, by the store's own clock, which all replicas share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ages {
    /// Since the login.
    pub opened: Duration,
    /// Since the back-end last confirmed the keys.
    pub confirmed: Duration,
    /// Since somebody last asked for them, as far as replicas have told.
    pub used: Duration,
}

/// A record as it was found.
pub(super) struct Shelved {
    pub spot: Spot,
    pub fence: Fence,
    pub record: Record,
    pub ages: Ages,
}

/// What became of asking for keys.
pub(super) enum Claim {
    /// Here they are: somebody has logged in.
    Here(Box<Shelved>),
    /// Nobody has, and nobody else will before the lease ends: log in, and [`Shelf::commit`] with this.
    Yours(Fence),
    /// Somebody is logging in. Wait for [`Shelf::told`], no longer than this, and claim again.
    Theirs(Duration),
    /// The portal session was ended.
    Revoked,
}

/// What became of keys that were got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// They are the ones for everybody.
    Kept,
    /// The lease had ended, and somebody else has another: they are nobody's.
    Superseded,
    /// The portal session was ended meanwhile.
    Revoked,
}

/// What is to be done with a session that is due.
pub(super) enum Tend {
    /// Refresh it: it is in use, and nobody else does for as long as the turn was asked for.
    Yours,
    /// Nothing: nobody uses it, somebody else has the turn, or has just refreshed it.
    Rest(Ages),
    /// There are newer keys.
    Newer(Box<Shelved>),
    /// Nobody may use it any more: it was taken out, or its portal session was ended.
    Gone,
}

/// What became of ending a session.
pub(super) enum Taken {
    /// It was taken out by us, and we tell the back-end.
    Ours(Box<Shelved>),
    /// It is in use elsewhere; this long ago.
    InUse(Ages),
    /// Somebody else has taken it out, or it never was there.
    Gone,
}

/// What a back-end said of a password, as other replicas are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub refusal: Refusal,
    /// For how long still.
    pub left: Duration,
}

/// The records of all replicas.
pub(super) struct Shelf {
    store: Arc<Store>,
}

impl Shelf {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Whether people are to be signed in while the store cannot be asked.
    pub(super) fn goes_on_without(&self) -> bool {
        self.store.goes_on_without()
    }

    /// Where the back-end session of this holder stands.
    pub(super) fn spot(&self, portal: &str, session: &str, backend: [u8; 8], holding: &Holding) -> Spot {
        unimplemented!("not built yet")
    }

    /// Asks for keys newer than these (zero: any), and for the right to log in for `lease` where there are none.
    pub(super) async fn claim(&self, spot: &Spot, than: Fence, lease: Duration) -> Result<Claim, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// Waits until what others do at this spot is settled, or may be; whoever waits looks again then. Begin to wait
    /// before the claim that says [`Claim::Theirs`].
    pub(super) fn told(&self, spot: &Spot) -> impl Future<Output = ()> + Send + use<> {
        std::future::pending()
    }

    /// Wakes whoever waits at this place.
    pub(super) fn wake(&self, place: &Place) {
        unimplemented!("not built yet")
    }

    /// Puts what was got under the lease of this fence onto the shelf, for so long, and tells who waits.
    pub(super) async fn commit(
        &self,
        spot: &Spot,
        fence: Fence,
        record: &Record,
        life: Duration,
    ) -> Result<Commit, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// Gives the lease of this fence back without keys, and tells who waits.
    pub(super) async fn give_up(&self, spot: &Spot, fence: Fence) -> Result<(), StoreOutage> {
        unimplemented!("not built yet")
    }

    /// Tells when keys of this fence were last used, and asks whether it is upon us to refresh them: at most one
    /// replica is told so in an `interval` since they were confirmed, and for as long as `turn`.
    pub(super) async fn tend(
        &self,
        spot: &Spot,
        fence: Fence,
        used: Duration,
        interval: Duration,
        turn: Duration,
    ) -> Result<Tend, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// The back-end has confirmed the keys of this fence; `renewed` are what it gave in their place. Says the fence
    /// that counts from now on, if the record is still there.
    pub(super) async fn confirm(
        &self,
        spot: &Spot,
        fence: Fence,
        renewed: Option<&Record>,
        life: Duration,
    ) -> Result<Option<Fence>, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// Takes the keys of this fence out, whoever uses them: they are dead, or are to be given up.
    pub(super) async fn take(&self, spot: &Spot, fence: Fence) -> Result<Taken, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// The same, unless they were used anywhere within `idle` and are younger than `oldest`.
    pub(super) async fn take_idle(
        &self,
        spot: &Spot,
        fence: Fence,
        used: Duration,
        idle: Duration,
        oldest: Duration,
    ) -> Result<Taken, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// Ends a portal session: takes all its records out, and has no new ones come until then.
    pub(super) async fn end(
        &self,
        portal: &str,
        session: &str,
        until: UnixSeconds,
    ) -> Result<Vec<Shelved>, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// Whether the portal session was ended.
    pub(super) async fn has_ended(&self, portal: &str, session: &str) -> Result<bool, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// All records of a portal session.
    pub(super) async fn of_session(&self, portal: &str, session: &str) -> Result<Vec<Shelved>, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// Says when somebody will look at this record next. Where nobody has done so by then, and for `grace` more,
    /// [`Shelf::orphans`] finds it.
    pub(super) async fn due_in(&self, spot: &Spot, due: Duration, grace: Duration) -> Result<(), StoreOutage> {
        unimplemented!("not built yet")
    }

    /// Up to `most` records that nobody looks after any more. Each is given to one replica.
    pub(super) async fn orphans(&self, most: usize) -> Result<Vec<Shelved>, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// What a back-end said of this password to any replica, not long ago.
    pub(super) async fn said(&self, password: &Fingerprint) -> Result<Option<Said>, StoreOutage> {
        unimplemented!("not built yet")
    }

    /// Tells other replicas what a back-end said of this password; nothing, where it is good after all.
    pub(super) async fn say(&self, password: &Fingerprint, said: Option<Said>) -> Result<(), StoreOutage> {
        unimplemented!("not built yet")
    }
}
