//! What is remembered between two requests of one sign-in, and of sessions that ended before they began.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::domain::{Clock, Identity, Moment, UnixSeconds};
use crate::portal::Sessions;
use crate::portal::notes::End;
use crate::store::{Place, Store, StoreOutage};
use crate::wire::Errands;

/// How long a person may think about whether they are to become another.
const THINKING_TIME: Duration = Duration::from_secs(120);
/// How long it is remembered that a session of the host's has ended, there or here, in seconds: a sign-in may
/// still be under way, and the host may not have heard of it for as long as an errand lasts.
const ENDED_FOR: u64 = 900;
/// Most that are put aside. Only the host can make any, by vouching for somebody.
const MOST: usize = 100_000;
/// What the names of those begin with that are put aside in the store. No other name has it.
const IN_STORE: char = '.';

/// Somebody for whom the host has vouched.
pub(super) struct Arrival {
    pub identity: Identity<'static>,
    pub api_sid: String,
    pub expires: UnixSeconds,
    /// Where they want to go.
    pub next: String,
}

/// An arrival that is not let in yet.
pub(super) struct Pending {
    pub arrival: Arrival,
    /// The session that it would replace, once the person in it has agreed.
    pub instead_of: Option<String>,
}

/// Where replicas share a store, arrivals wait there, and each is taken once by one of them. Those that were put
/// aside while it could not be asked wait here.
pub(super) struct Arrivals {
    state: Mutex<State>,
    portal: String,
    kept: Arc<Sessions>,
    errands: Arc<Errands>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    pending: HashMap<String, Pending>,
    ends: VecDeque<(Moment, String)>,
}

/// One that is put aside, as it is sealed.
#[derive(Deserialize, Serialize)]
struct Sealed {
    user: String,
    name: String,
    email: String,
    roles: Vec<String>,
    api_sid: String,
    expires: UnixSeconds,
    next: String,
    instead_of: Option<String>,
}

impl Arrivals {
    pub(super) fn new(portal: &str, kept: &Arc<Sessions>, errands: &Arc<Errands>, clock: &Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::default(),
            portal: portal.to_owned(),
            kept: Arc::clone(kept),
            errands: Arc::clone(errands),
            clock: Arc::clone(clock),
        }
    }

    /// Puts an arrival aside and says under which name it can be had, once. `None` where there is no room, or the
    /// store cannot be asked.
    pub(super) async fn put_aside(&self, pending: Pending) -> Option<String> {
        if let Some(store) = self.kept.store() {
            let name = random();
            let text = serde_json::to_vec(&Sealed::of(&pending)).ok()?;
            match store.put(&self.place(store, &name), &text, THINKING_TIME).await {
                Ok(()) => return Some(format!("{IN_STORE}{name}")),
                Err(_) if store.goes_on_without() => {}
                Err(_) => return None,
            }
        }
        let now = self.clock.now();
        let mut state = self.swept(now);
        if state.pending.len() >= MOST {
            return None;
        }
        let name = random();
        state.ends.push_back((now.plus(THINKING_TIME), name.clone()));
        state.pending.insert(name.clone(), pending);
        Some(name)
    }

    /// Takes one that was put aside, if `fits` says so. One that does not fit stays.
    pub(super) async fn take(
        &self,
        name: &str,
        fits: impl Fn(&Pending) -> bool,
    ) -> Result<Option<Pending>, StoreOutage> {
        if let (Some(store), Some(name)) = (self.kept.store(), name.strip_prefix(IN_STORE)) {
            let place = self.place(store, name);
            let fitting =
                store.get(&place).await?.and_then(|text| Sealed::pending(&text)).is_some_and(|one| fits(&one));
            // What stands there never changes. Of all whom it fits, one takes it.
            let taken = if fitting { store.take(&place).await? } else { None };
            return Ok(taken.and_then(|text| Sealed::pending(&text)));
        }
        let mut state = self.swept(self.clock.now());
        let fitting = state.pending.get(name).is_some_and(fits);
        Ok(if fitting { state.pending.remove(name) } else { None })
    }

    /// Notes that a session of the host's has ended.
    pub(super) fn note_end(&self, api_sid: &str) {
        let now = self.clock.unix();
        let end = End { name: self.note(api_sid), time: now, until: now.saturating_add(ENDED_FOR) };
        self.kept.note_end(&self.errands, &self.portal, &end, now);
    }

    /// Whether it has ended, not long ago, as far as any replica knows.
    pub(super) async fn has_ended(&self, api_sid: &str) -> Result<bool, StoreOutage> {
        Ok(self.kept.noted(&self.note(api_sid), self.clock.unix()).await?.is_some())
    }

    fn note(&self, api_sid: &str) -> String {
        format!("{}\nended {api_sid}", self.portal)
    }

    fn place(&self, store: &Store, name: &str) -> Place {
        store.place("arrival", &[self.portal.as_bytes(), name.as_bytes()])
    }

    fn swept(&self, now: Moment) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        while state.ends.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, name)) = state.ends.pop_front() {
                state.pending.remove(&name);
            }
        }
        state
    }
}

impl Sealed {
    fn of(Pending { arrival, instead_of }: &Pending) -> Self {
        let Arrival { identity, api_sid, expires, next } = arrival;
        Self {
            user: identity.user().to_owned(),
            name: identity.name().to_owned(),
            email: identity.email().to_owned(),
            roles: identity.roles().iter().map(ToString::to_string).collect(),
            api_sid: api_sid.clone(),
            expires: *expires,
            next: next.clone(),
            instead_of: instead_of.clone(),
        }
    }

    fn pending(text: &[u8]) -> Option<Pending> {
        let Self { user, name, email, roles, api_sid, expires, next, instead_of } =
            serde_json::from_slice(text).ok()?;
        let identity = Identity::new(user, name, email, roles.into_iter().map(Into::into).collect()).ok()?;
        Some(Pending { arrival: Arrival { identity, api_sid, expires, next }, instead_of })
    }
}

/// 256 random bits, as they can stand in a cookie and in an address.
pub(super) fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::domain::ManualClock;
    use crate::store::scratch::Scratch;

    fn pending(instead_of: Option<&str>) -> Pending {
        let roles = vec!["canary-role".into()];
        let identity = Identity::new("canary", "Canary Bird", "canary@example.test", roles).unwrap().into_owned();
        let (api_sid, next) = ("canary-sid".to_owned(), "/canary".to_owned());
        Pending { arrival: Arrival { identity, api_sid, expires: 1, next }, instead_of: instead_of.map(str::to_owned) }
    }

    fn alone(clock: &Arc<ManualClock>) -> Arrivals {
        let clock: Arc<dyn Clock> = clock.clone();
        let errands = Errands::new();
        errands.run_on(tokio::runtime::Handle::current());
        Arrivals::new("p", &Sessions::new(0), &errands, &clock)
    }

    fn replicas<const COUNT: usize>(server: &Scratch, when_down: &str) -> [Arc<Arrivals>; COUNT] {
        [(); COUNT].map(|()| {
            let clock = Arc::new(ManualClock::at(0));
            let arrivals = alone(&clock);
            arrivals.kept.share(&server.store_when_down(when_down, clock));
            Arc::new(arrivals)
        })
    }

    #[tokio::test]
    async fn what_was_put_aside_is_had_once_by_whom_it_fits_and_not_for_ever() {
        let clock = Arc::new(ManualClock::at(0));
        let arrivals = alone(&clock);
        let name = arrivals.put_aside(pending(Some("s"))).await.unwrap();
        assert!(arrivals.take(&name, |pending| pending.instead_of.is_none()).await.unwrap().is_none());
        assert!(arrivals.take(&name, |pending| pending.instead_of.as_deref() == Some("s")).await.unwrap().is_some());
        assert!(arrivals.take(&name, |_| true).await.unwrap().is_none());
        let name = arrivals.put_aside(pending(None)).await.unwrap();
        clock.advance(THINKING_TIME);
        assert!(arrivals.take(&name, |_| true).await.unwrap().is_none());
        assert!(arrivals.state.lock().pending.is_empty());
    }

    #[tokio::test]
    async fn an_end_is_remembered_for_some_minutes() {
        let clock = Arc::new(ManualClock::at(0));
        let arrivals = alone(&clock);
        let half = Duration::from_secs(ENDED_FOR / 2);
        arrivals.note_end("a");
        clock.advance(half);
        arrivals.note_end("a");
        clock.advance(half);
        assert_eq!((arrivals.has_ended("a").await, arrivals.has_ended("b").await), (Ok(true), Ok(false)));
        clock.advance(half);
        assert_eq!(arrivals.has_ended("a").await, Ok(false));
    }

    #[tokio::test]
    async fn what_one_replica_puts_aside_one_of_all_takes_whom_it_fits() {
        let server = Scratch::start().await;
        let replicas: [_; 3] = replicas(&server, "refuse");
        let name = replicas[0].put_aside(pending(Some("s"))).await.unwrap();
        assert!(!server.everything().to_lowercase().contains("canary") && !server.everything().contains(&name[1..]));
        assert!(replicas[1].take(&name, |pending| pending.instead_of.is_none()).await.unwrap().is_none());
        let fits = |pending: &Pending| pending.instead_of.as_deref() == Some("s");
        let found = replicas[2].take(&name, fits).await.unwrap().unwrap().arrival;
        let expected = pending(None).arrival;
        assert_eq!((&found.identity, &found.api_sid), (&expected.identity, &expected.api_sid));
        assert_eq!((found.expires, &found.next), (expected.expires, &expected.next));
        assert!(replicas[0].take(&name, |_| true).await.unwrap().is_none());
        for round in 0..50 {
            let name = replicas[round % 3].put_aside(pending(None)).await.unwrap();
            let all = (0..24).map(|number| {
                let (arrivals, name) = (Arc::clone(&replicas[number % 3]), name.clone());
                tokio::spawn(async move { usize::from(arrivals.take(&name, |_| true).await.unwrap().is_some()) })
            });
            assert_eq!(join_all(all).await.into_iter().map(Result::unwrap).sum::<usize>(), 1);
        }
        for stranger in ["", ".", "x", &".".repeat(4000)] {
            assert!(replicas[0].take(stranger, |_| true).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn an_end_at_one_replica_is_known_at_the_others() {
        let server = Scratch::start().await;
        let [one, other] = replicas(&server, "refuse");
        one.note_end("canary-sid");
        one.errands.finish().await;
        assert_eq!((other.has_ended("canary-sid").await, other.has_ended("b").await), (Ok(true), Ok(false)));
        assert!(!server.everything().contains("canary"));
    }

    #[tokio::test]
    async fn without_the_store_nobody_is_told_no_and_a_replica_goes_on_alone_if_it_may() {
        let server = Scratch::start().await;
        let ([strict], [one, other]) = (replicas(&server, "refuse"), replicas(&server, "login"));
        let name = strict.put_aside(pending(None)).await.unwrap();
        server.stop();
        assert!(strict.put_aside(pending(None)).await.is_none());
        assert!(strict.take(&name, |_| true).await.is_err() && one.take(&name, |_| true).await.is_err());
        assert!(strict.has_ended("a").await.is_err());
        assert_eq!(one.has_ended("a").await, Ok(false));
        let name = one.put_aside(pending(None)).await.unwrap();
        assert!(other.take(&name, |_| true).await.unwrap().is_none());
        assert!(one.take(&name, |_| true).await.unwrap().is_some());
        assert!(one.take(&name, |_| true).await.unwrap().is_none());
    }
}
