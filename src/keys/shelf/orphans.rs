//! Records that nobody looks after any more, because the replica that did has died: found by the time at which
//! somebody wanted to look at them.

use std::iter;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{Shelf, Shelved, Spot, number, scripts, span};
use crate::store::{Place, StoreOutage};

/// Into how many parts the list of what is due is split, so that it does not all stand at one node of a Cluster.
const SHARDS: u8 = 16;

/// Most that are put into one of them or taken out in one step, in which the server does nothing else.
const MOST_AT_ONCE: usize = 500;

/// How many records are read at once.
const READS: usize = 16;

impl Shelf {
    /// Says in how long at the latest somebody will have looked at this record. Where nobody has, [`Shelf::orphans`]
    /// finds it. Of several replicas that say so, the last counts.
    pub(in crate::keys) async fn due_in(&self, spot: &Spot, due: Duration) -> Result<(), StoreOutage> {
        self.due_in_part(shard_of(spot), &[(*spot, due)]).await
    }

    /// The same for many at once, with one step for each part of the list, or a few. Those come back of which the
    /// store could not be told.
    pub(in crate::keys) async fn all_due_in(&self, all: Vec<(Spot, Duration)>) -> Vec<Spot> {
        let mut parts = [const { Vec::new() }; SHARDS as usize];
        for one in all {
            parts[usize::from(shard_of(&one.0))].push(one);
        }
        let (mut untold, mut is_away) = (Vec::new(), false);
        for (shard, part) in (0..).zip(parts) {
            for some in part.chunks(MOST_AT_ONCE) {
                let told = if is_away { Err(StoreOutage::Down) } else { self.due_in_part(shard, some).await };
                if let Err(outage) = told {
                    untold.extend(some.iter().map(|(spot, _)| *spot));
                    // One that is unable may be so in this part alone.
                    is_away = !matches!(outage, StoreOutage::Unable(_));
                }
            }
        }
        untold
    }

    async fn due_in_part(&self, shard: u8, all: &[(Spot, Duration)]) -> Result<(), StoreOutage> {
        let texts: Vec<_> = all.iter().flat_map(|(spot, due)| [member(spot), span(*due)]).collect();
        let arguments: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        self.store.run(&scripts::DUE, &self.shard(shard), &arguments).await.map(drop)
    }

    /// Up to `most` records that nobody looks after any more. Each is given to one replica, and to another if it is
    /// not [due](Shelf::due_in) elsewhere or gone a minute later. Fewer where a part of the store cannot be asked.
    pub(in crate::keys) async fn orphans(&self, most: usize) -> Result<Vec<Shelved>, StoreOutage> {
        let (mut orphans, mut failed) = (Vec::new(), None);
        let first: u8 = rand::random();
        for shard in 0..SHARDS {
            let left = most.saturating_sub(orphans.len());
            if left == 0 {
                break;
            }
            match self.orphans_of(self.shard(first.wrapping_add(shard) % SHARDS), left).await {
                Ok(found) => orphans.extend(found),
                // It may be this part alone.
                Err(outage @ StoreOutage::Unable(_)) => failed = Some(outage),
                Err(outage) => {
                    failed = Some(outage);
                    break;
                }
            }
        }
        // What was found is given to nobody else for a minute.
        failed.filter(|_| orphans.is_empty()).map_or(Ok(orphans), Err)
    }

    async fn orphans_of(&self, shard: Place, most: usize) -> Result<Vec<Shelved>, StoreOutage> {
        let most = number(most.min(MOST_AT_ONCE) as u64);
        let answer = self.store.run(&scripts::OVERDUE, &shard, &[&most]).await?;
        let again = answer.bytes(0).unwrap_or_default();
        let spots: Vec<Spot> = (1..answer.len()).filter_map(|at| spot(answer.bytes(at)?)).collect();
        let mut reads = stream::iter(spots).map(|spot| async move { (spot, self.find(&spot).await) }).buffered(READS);
        let (mut orphans, mut gone) = (Vec::new(), Vec::new());
        while let Some((spot, found)) = reads.next().await {
            match found {
                Ok(Some(shelved)) => orphans.push(shelved),
                Ok(None) => gone.push(member(&spot)),
                // It comes again in a minute.
                Err(_) => {}
            }
        }
        if !gone.is_empty() {
            let arguments: Vec<&[u8]> = iter::once(again).chain(gone.iter().map(Vec::as_slice)).collect();
            // They come again in a minute.
            drop(self.store.run(&scripts::NOT_DUE, &shard, &arguments).await);
        }
        Ok(orphans)
    }

    pub(super) fn shard(&self, shard: u8) -> Place {
        self.store.place("due", &[&[shard]])
    }
}

/// In which part of the list of what is due it stands.
fn shard_of(spot: &Spot) -> u8 {
    spot.entry.as_bytes()[0] % SHARDS
}

fn member(spot: &Spot) -> Vec<u8> {
    [spot.session.as_bytes().as_slice(), spot.entry.as_bytes()].concat()
}

fn spot(member: &[u8]) -> Option<Spot> {
    let (session, rest) = member.split_first_chunk()?;
    let entry = rest.try_into().ok()?;
    Some(Spot { session: Place::from_bytes(*session), entry: Place::from_bytes(entry) })
}
