//! The counters of all replicas, in the store. They do what those of one process do, step for step; two scripts
//! take each step for everybody at once.
//!
//! All of a portal's stand in one place, since a try meets several and a script has one place. In it they are known
//! by marks alone; beside them stand numbers and times, by the store's own clock.

use std::sync::LazyLock;
use std::time::Duration;

use super::{Lockout, Place, Terms, WAIT_FOR_OTHERS};
use crate::portal::Mark;
use crate::store::{Script, Store, StoreOutage, millis};

/// Counters, when each was last written, networks that are known, passwords that were tried, whose a spelling is,
/// and when that was found.
const KEYS: &[&str] = &["counts", "ages", "known", "tried", "names", "named"];
static ADMIT: LazyLock<Script> =
    LazyLock::new(|| Script::new(KEYS, concat!(include_str!("head.lua"), include_str!("admit.lua"))));
static SETTLE: LazyLock<Script> =
    LazyLock::new(|| Script::new(KEYS, concat!(include_str!("head.lua"), include_str!("settle.lua"))));

/// How long they stay when nobody signs in at the portal any more.
const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// A try as the store counted it.
pub(super) struct Counted {
    typed: Mark,
    network: Mark,
    guess: Mark,
    /// What it said, to be given back as it is.
    said: Vec<Vec<u8>>,
}

/// What became of a try.
pub(super) enum Settled<'a> {
    /// The password was right, and this is whose.
    Right(&'a str),
    Wrong,
    Unknown,
}

impl Lockout {
    /// Whether a password may be tried now, as all replicas have counted; else how long to wait.
    pub(super) async fn admit_shared(
        &self,
        store: &Store,
        terms: &Terms,
        name: &str,
        guess: Mark,
        place: &Place,
    ) -> Result<Result<Counted, Duration>, StoreOutage> {
        let (typed, network) = (self.name(name), self.mark(&["network", &place.network()]));
        let device = place.device.as_deref().map(|device| self.mark(&["device", device]));
        let device_of = place.device_of.as_deref().map(|user| self.name(user));
        let or_none = |mark: &Option<Mark>| mark.as_ref().map_or_else(Vec::new, |mark| mark.to_vec());
        let mut arguments = vec![typed.to_vec(), network.to_vec(), or_none(&device), or_none(&device_of)];
        arguments.push(guess.to_vec());
        let for_others = terms.longest_wait.min(WAIT_FOR_OTHERS);
        arguments.extend([terms.wait, terms.longest_wait, for_others, terms.forgotten_after].map(millis));
        arguments.extend([terms.attempts, terms.per_address, terms.per_user].map(number));
        arguments.push(number(self.most));
        let answer = store.run(&ADMIT, &self.place(store), &slices(&arguments)).await?;
        let wait = Duration::from_millis(answer.number(0).unwrap_or_default());
        if !wait.is_zero() {
            return Ok(Err(wait));
        }
        let said = (1..answer.len()).map(|index| answer.bytes(index).unwrap_or_default().to_vec()).collect();
        Ok(Ok(Counted { typed, network, guess, said }))
    }

    /// Has all replicas know what became of it. Where they cannot, it counts as wrong until it is forgotten.
    pub(super) async fn settle_shared(&self, counted: Option<&Counted>, settled: Settled<'_>) {
        let (Some(store), Some(counted)) = (self.marks.store(), counted) else { return };
        let (what, owner) = match settled {
            Settled::Right(user) => ("right", Some(self.name(user))),
            Settled::Wrong => ("wrong", None),
            Settled::Unknown => ("unknown", None),
        };
        let mut arguments = vec![what.as_bytes().to_vec()];
        arguments.extend([counted.typed, counted.network, counted.guess].map(|mark| mark.to_vec()));
        arguments.push(owner.map_or_else(Vec::new, |mark| mark.to_vec()));
        arguments.extend([number(self.most), millis(KEPT_FOR)]);
        arguments.extend(counted.said.iter().cloned());
        let _ = store.run(&SETTLE, &self.place(store), &slices(&arguments)).await;
    }

    fn place(&self, store: &Store) -> crate::store::Place {
        store.place("lockout", &[self.portal.as_bytes()])
    }
}

fn number(number: u32) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn slices(arguments: &[Vec<u8>]) -> Vec<&[u8]> {
    arguments.iter().map(Vec::as_slice).collect()
}
