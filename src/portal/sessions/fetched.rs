//! How sessions get here from the store.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::shared::{Due, Fetched, Shared, Standing};
use super::{HeldSession, Name, Place, Sessions, name_of};
use crate::domain::UnixSeconds;
use crate::portal::Called;
use crate::store::{self, Script, StoreOutage, millis};

/// How often something is tried that only a change at the same instant can thwart.
const TRIES: usize = 4;

/// Takes a turn where nobody has it.
static TAKE_TURN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&["turn"], "return {redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0}")
});
/// Gives it back, unless it ended and somebody else has it by now.
static GIVE_TURN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        &["turn"],
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0} end return {redis.call('DEL', KEYS[1])}",
    )
});

/// Who does something that only one replica may do at a time.
pub enum Turn {
    /// This one, for the time that was asked for, or until it gives the turn back: by this mark it is its own.
    Ours(u128),
    /// Another one.
    Theirs,
}

impl Sessions {
    /// Whether one of these values may stand for a session that is not here.
    pub(in crate::portal) fn lacks(&self, portal: &str, shown: &[&str]) -> bool {
        self.is_shared() && shown.iter().any(|shown| !self.held.contains_key(&self.name(portal, shown)))
    }

    /// Brings the sessions here for which a browser shows this, as far as there are any.
    ///
    /// # Errors
    /// Nobody can tell whether there are more.
    pub(in crate::portal) async fn bring_shown(&self, portal: &str, shown: &[&str]) -> Result<(), StoreOutage> {
        if !self.is_shared() {
            return Ok(());
        }
        self.bring_all(portal, shown.iter().map(|shown| self.name(portal, shown))).await
    }

    /// Brings the sessions of these ids here, as far as there are any.
    ///
    /// # Errors
    /// Nobody can tell whether there are more.
    pub(in crate::portal) async fn bring(&self, portal: &str, ids: &[String]) -> Result<(), StoreOutage> {
        if !self.is_shared() {
            return Ok(());
        }
        self.bring_all(portal, ids.iter().filter_map(|id| name_of(id))).await
    }

    async fn bring_all(&self, portal: &str, names: impl Iterator<Item = Name>) -> Result<(), StoreOutage> {
        let missing = names.filter(|name| !self.held.contains_key(name));
        let fetched = join_all(missing.map(|name| async move { (name, self.fetch(portal, name).await) })).await;
        // One that had to make room again before anybody saw it is none that is not there.
        let is_clear = |(name, fetched): &(Name, Fetched)| match fetched {
            Fetched::Here => self.held.contains_key(name),
            Fetched::Nowhere => true,
            Fetched::Unclear => false,
        };
        if fetched.iter().all(is_clear) { Ok(()) } else { Err(StoreOutage::Down) }
    }

    /// Asks the store once, however many want to know.
    async fn fetch(&self, portal: &str, name: Name) -> Fetched {
        let Some(shared) = self.shared.get() else { return Fetched::Nowhere };
        let question = || {
            let (me, portal) = (shared.me.clone(), portal.to_owned());
            async move {
                match me.upgrade() {
                    Some(sessions) => sessions.fetch_now(&portal, name).await,
                    None => Fetched::Unclear,
                }
            }
        };
        shared.fetches.join(name, question).await.unwrap_or(Fetched::Unclear)
    }

    async fn fetch_now(&self, portal: &str, name: Name) -> Fetched {
        let Some(shared) = self.shared.get() else { return Fetched::Nowhere };
        for _ in 0..TRIES {
            match shared.owes(&name) {
                Some(Due::End { .. }) => return Fetched::Nowhere,
                // It is here, and newer than what the store has.
                Some(Due::Write { .. } | Due::Prolong) if self.held.contains_key(&name) => return Fetched::Here,
                _ => {}
            }
            let on_the_way = shared.set_out(name);
            let standing = match shared.get(portal, &name).await {
                Ok(standing) => standing,
                Err(_) => return Fetched::Unclear,
            };
            match standing {
                Standing::Nothing if shared.is_recovering() => return Fetched::Unclear,
                // The store has lost it, and what another replica has of it may be newer.
                Standing::Nothing if self.is_held(&name, shared.unix()) => {
                    if shared.owes(&name).is_none() {
                        shared.owe(portal, name, Due::PutBack);
                    }
                    return Fetched::Unclear;
                }
                Standing::Nothing => return Fetched::Nowhere,
                Standing::Ended => {
                    self.remove(&name, |place| place.session.version() != 0);
                    return Fetched::Nowhere;
                }
                _ => {}
            }
            let Some(session) = self.read(shared, &name, standing) else {
                tracing::warn!(portal, "a session in the store cannot be read; see the keys of [store]");
                return Fetched::Unclear;
            };
            let new = self.place(portal, session);
            if self.held.get(&name).is_some_and(|held| held.session.version() >= new.session.version()) {
                return Fetched::Here;
            }
            self.take_in_unless_heard_of(on_the_way, name, new);
            if self.held.contains_key(&name) {
                return Fetched::Here;
            }
        }
        Fetched::Unclear
    }

    fn is_held(&self, name: &Name, now: UnixSeconds) -> bool {
        self.held.get(name).is_some_and(|held| held.session.version() != 0 && held.session.expires > now)
    }

    /// Of a session that each replica renews for itself, a copy may end while another replica has prolonged its own.
    /// Whether this is such a copy; then the store is asked, and it goes on, or ends when that has answered.
    pub(super) fn looks_before_it_ends(&self, name: Name, end: UnixSeconds) -> bool {
        let Some(me) = self.shared.get().and_then(|shared| shared.me.upgrade()) else { return false };
        let is_such = move |place: &Place| {
            let session = &place.session;
            session.expires == end && session.version() != 0 && session.known_as.is_some()
        };
        let Some(portal) = self.held.get(&name).filter(|held| is_such(held)).map(|held| held.portal.clone()) else {
            return false;
        };
        tokio::spawn(async move {
            let fetched = me.fetch(&portal, name).await;
            let Some(held) = me.held.get(&name).filter(|held| is_such(held)) else { return };
            if fetched != Fetched::Unclear {
                // Nobody else has it any more.
                held.session.stands_as(0, 0);
            }
            me.by_end.lock().insert((end, name));
        });
        true
    }

    /// The session of this id as the store has it by now.
    ///
    /// # Errors
    /// There may be a newer one than the one that is here, or one where there is none.
    pub(in crate::portal) async fn newest(
        &self,
        portal: &str,
        id: &str,
        now: UnixSeconds,
    ) -> Result<Option<Arc<HeldSession>>, StoreOutage> {
        if self.is_shared()
            && let Some(name) = name_of(id)
            && self.fetch(portal, name).await == Fetched::Unclear
        {
            return Err(StoreOutage::Down);
        }
        Ok(self.of_id(id, now))
    }

    /// The ids of all of a portal's sessions that have this memo, wherever they are kept. They are here when this
    /// returns.
    pub(in crate::portal) async fn called(&self, portal: &str, memo: &str) -> Called {
        let outage = self.bring_called(portal, memo).await.err();
        Called { ids: self.ids_with_memo(portal, memo), outage }
    }

    async fn bring_called(&self, portal: &str, memo: &str) -> Result<(), StoreOutage> {
        let Some(shared) = self.shared.get() else { return Ok(()) };
        let names = shared.filed(&self.name(portal, memo)).await?;
        self.bring_all(portal, names.into_iter()).await?;
        // What others put back may have it as well.
        if shared.is_recovering() { Err(StoreOutage::Down) } else { Ok(()) }
    }

    /// Takes the one turn of all replicas to do something with the session of this id, for at most `life`.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub(in crate::portal) async fn turn(&self, portal: &str, id: &str, life: Duration) -> Result<Turn, StoreOutage> {
        let Some(shared) = self.shared.get() else { return Ok(Turn::Ours(0)) };
        // Nobody else has it.
        if self.of_id(id, 0).is_some_and(|held| held.version() == 0) {
            return Ok(Turn::Ours(0));
        }
        let (mark, place) = (rand::random::<u128>(), turn_place(shared, portal, id));
        let taken = shared.store.run(&TAKE_TURN, &place, &[&mark.to_be_bytes(), &millis(life)]).await?;
        Ok(if taken.number(0) == Some(1) { Turn::Ours(mark) } else { Turn::Theirs })
    }

    /// Gives the turn of this mark back. Where that cannot be said, it ends in time.
    pub(in crate::portal) async fn done(&self, portal: &str, id: &str, mark: u128) {
        if let Some(shared) = self.shared.get() {
            let place = turn_place(shared, portal, id);
            let _ = shared.store.run(&GIVE_TURN, &place, &[&mark.to_be_bytes()]).await;
        }
    }

    /// Waits until something is heard of the session of this id, at most so long.
    pub(in crate::portal) async fn wait_for_news(&self, id: &str, at_most: Duration) {
        let (Some(shared), Some(name)) = (self.shared.get(), name_of(id)) else { return };
        let waiting = Arc::clone(&shared.waiting.entry(name).or_insert_with(|| Arc::new(Notify::new())));
        let _ = tokio::time::timeout(at_most, waiting.notified()).await;
        drop(waiting);
        shared.waiting.remove_if(&name, |_, waiting| Arc::strong_count(waiting) == 1);
    }
}

fn turn_place(shared: &Shared, portal: &str, id: &str) -> store::Place {
    shared.store.place("portal turn", &[portal.as_bytes(), id.as_bytes()])
}
