//! The sessions for which the portal has vouched, and those of them that were signed out here.
//!
//! Each is kept under the cookie that stands for it. The house knows it by a name of its own, made up anew
//! for each sign-in at the portal: many portals let a browser keep its cookie from one sign-in to the next,
//! and whoever comes second must get nothing of the first, nor be refused because the first went.

use std::sync::Arc;

use smallvec::SmallVec;

use super::CALLED_OFF_FOR;
use super::said::Word;
use crate::domain::{Moment, UnixSeconds};
use crate::portal::notes::{End, end_of};
use crate::portal::{Called, HeldSession, NotKept, Sealed, Sessions};
use crate::store::StoreOutage;
use crate::wire::Errands;

/// How often something is tried that only a change at the same instant can thwart.
const TRIES: usize = 4;

pub(super) struct Known {
    portal: String,
    sessions: Arc<Sessions>,
}

/// What a cookie stands for.
pub(super) enum Record {
    /// A session, by its name in the house.
    In(String, Arc<HeldSession>),
    /// One that was signed out here. The portal may still vouch for it.
    SignedOut(Arc<HeldSession>),
}

impl Record {
    fn of(held: Arc<HeldSession>) -> Self {
        match &held.known_as {
            Some(id) => Self::In(id.to_string(), held),
            None => Self::SignedOut(held),
        }
    }

    pub(super) const fn held(&self) -> &Arc<HeldSession> {
        match self {
            Self::In(_, held) | Self::SignedOut(held) => held,
        }
    }
}

/// What the portal said of a cookie, and when that must be asked again.
pub(super) struct Vouched {
    pub word: Word,
    pub expires: UnixSeconds,
    pub fresh_until: Moment,
    /// The cookie, where it will be needed.
    pub sealed: Option<Sealed>,
    /// Whoever shows it has signed out here before anything was known of them.
    pub leaves: bool,
}

impl Known {
    pub(super) const fn new(portal: String, sessions: Arc<Sessions>) -> Self {
        Self { portal, sessions }
    }

    /// What stands for a cookie wherever something is noted of it.
    pub(super) fn key(&self, cookie: &str) -> String {
        self.sessions.id_of(&self.portal, cookie)
    }

    /// What the cookie stands for, and its key.
    pub(super) fn find(&self, cookie: &str, now: UnixSeconds) -> Option<(String, Record)> {
        let (key, held) = self.sessions.find(&self.portal, cookie, now)?;
        Some((key, Record::of(held)))
    }

    /// The session of this name in the house.
    pub(super) fn named(&self, id: &str, now: UnixSeconds) -> Option<Arc<HeldSession>> {
        self.place_of(id, now).map(|(_, held)| held)
    }

    fn place_of(&self, id: &str, now: UnixSeconds) -> Option<(String, Arc<HeldSession>)> {
        let mut places = self.sessions.ids_with_memo(&self.portal, id).into_iter();
        places.find_map(|key| {
            let held = self.sessions.of_id(&key, now).filter(|held| held.known_as.as_deref() == Some(id))?;
            Some((key, held))
        })
    }

    /// The names and keys of all sessions that the portal's side calls so: by its own name, or by the cookie.
    pub(super) async fn called(&self, sid: &str) -> (Vec<(String, String)>, Option<StoreOutage>) {
        let key = self.key(sid);
        let Called { ids: mut keys, outage } = self.sessions.called(&self.portal, &key).await;
        let outage = outage.or(self.sessions.bring(&self.portal, std::slice::from_ref(&key)).await.err());
        keys.push(key);
        let mut called: Vec<(String, String)> = Vec::new();
        for key in keys {
            let id = self.sessions.of_id(&key, 0).and_then(|held| held.known_as.as_deref().map(str::to_owned));
            if let Some(id) = id.filter(|id| called.iter().all(|(other, _)| other != id)) {
                called.push((id, key));
            }
        }
        (called, outage)
    }

    /// Notes for other replicas that the portal's side has ended what this key stands for, which one of them may
    /// just be vouched for. Where they cannot be told, they ask the portal again soon.
    pub(super) async fn note_called_off(&self, errands: &Errands, key: &str, unix: UnixSeconds, now: Moment) {
        if let Some(time) = self.sessions.store_time(now) {
            let until = unix.saturating_add(CALLED_OFF_FOR.as_secs());
            let end = End { name: self.note(key), time, until };
            self.sessions.note_end_now(errands, &self.portal, &end, unix).await;
        }
    }

    /// Whether another replica has noted so since then of a cookie or the portal's own name for its session.
    pub(super) async fn is_called_off_elsewhere(&self, key: &str, sid: Option<&str>, since: Moment) -> bool {
        let Some(since) = self.sessions.store_time(since) else { return false };
        for key in std::iter::once(key).chain(sid) {
            let noted = self.sessions.noted(&self.note(key), 0).await;
            if noted.is_ok_and(|noted| noted.is_some_and(|time| time >= since)) {
                return true;
            }
        }
        false
    }

    fn note(&self, key: &str) -> String {
        end_of(&self.portal, &format!("off {key}"))
    }

    /// Takes the portal's word for whose the cookie is. Somebody else's session behind it, or an earlier one of
    /// the same person, is over, and whatever was opened from it. Replicas call a session alike: the first that hears
    /// of it gives it its name.
    pub(super) async fn take(&self, cookie: &str, vouched: &Vouched, now: UnixSeconds) -> Result<(), NotKept> {
        let sid = vouched.word.sid.as_deref().map(|sid| self.key(sid));
        if self.sessions.bring_shown(&self.portal, &[cookie]).await.is_err() && !self.sessions.goes_on_without() {
            return Err(NotKept::Outage);
        }
        for _ in 0..TRIES {
            let Some((key, earlier)) = self.held(cookie, now).await? else {
                if self.sessions.keep_first(&self.portal, cookie, new(vouched, sid.clone())).await? {
                    return Ok(());
                }
                continue;
            };
            let same_sid = sid.is_none() || earlier.memos.get(1).is_none_or(|known| Some(known) == sid.as_ref());
            if earlier.identity.user() != vouched.word.identity.user() || !same_sid {
                self.sessions.lapse(&key, now);
                self.sessions.end_with_all(&self.portal, &key);
            } else if self.sessions.renew_quietly(&self.portal, &key, &earlier, again(vouched, &earlier)).is_some() {
                return Ok(());
            }
        }
        // Others are changing it all the time, and what they leave is as good.
        Ok(())
    }

    /// What is kept of the cookie, also if it has ended by itself and was not cleared away yet. Where others may have
    /// another by now, or none, it is not that one.
    async fn held(&self, cookie: &str, now: UnixSeconds) -> Result<Option<(String, Arc<HeldSession>)>, NotKept> {
        let Some((key, held)) = self.sessions.find(&self.portal, cookie, 0) else { return Ok(None) };
        if held.expires > now || !self.sessions.is_shared() {
            return Ok(Some((key, held)));
        }
        let newest = self.sessions.newest(&self.portal, &key, now).await;
        if newest.is_err() && !self.sessions.goes_on_without() {
            return Err(NotKept::Outage);
        }
        self.sessions.clear_away(&self.portal, &key, &held);
        Ok(newest.ok().flatten().map(|newest| (key, newest)))
    }

    /// The portal does not vouch for the cookie. Nothing keeps it from doing so again, for whomever.
    pub(super) async fn lapse(&self, key: &str, now: UnixSeconds) {
        let brought = self.sessions.bring(&self.portal, &[key.to_owned()]).await;
        match self.sessions.of_id(key, 0) {
            Some(held) if held.known_as.is_none() => drop(self.sessions.end(&self.portal, key)),
            Some(_) => self.sessions.lapse(key, now),
            None if brought.is_err() => drop(self.sessions.end(&self.portal, key)),
            None => {}
        }
    }

    /// Signs the session of this name out: its cookie is refused for as long as the portal vouches for it.
    /// Gives back its key, and what it was.
    pub(super) fn sign_out(&self, id: &str) -> Option<(String, Arc<HeldSession>)> {
        for _ in 0..TRIES {
            let (key, earlier) = self.place_of(id, 0)?;
            let out = HeldSession {
                fresh_until: earlier.fresh_until,
                ..HeldSession::new(earlier.identity.clone(), earlier.expires, None)
            };
            if self.sessions.renew_and_tell(&self.portal, &key, &earlier, out).is_some() {
                return Some((key, earlier));
            }
        }
        None
    }
}

/// A session under a new name; none where it is signed out from the beginning.
fn new(vouched: &Vouched, sid: Option<String>) -> HeldSession {
    let id = format!("{:032x}", rand::random::<u128>());
    let mut memos: SmallVec<[String; 1]> = SmallVec::new();
    memos.push(id.clone());
    memos.extend(sid);
    HeldSession {
        known_as: (!vouched.leaves).then(|| id.into()),
        memos,
        fresh_until: vouched.fresh_until,
        sealed: vouched.sealed.clone(),
        ..HeldSession::new(vouched.word.identity.clone(), vouched.expires, vouched.word.password.clone())
    }
}

/// The same session as the portal has it now. One that was signed out here stays so.
fn again(vouched: &Vouched, earlier: &HeldSession) -> HeldSession {
    let fresh = HeldSession {
        fresh_until: vouched.fresh_until,
        ..HeldSession::new(vouched.word.identity.clone(), vouched.expires, None)
    };
    if earlier.known_as.is_none() {
        return fresh;
    }
    HeldSession {
        known_as: earlier.known_as.clone(),
        password: vouched.word.password.clone(),
        sealed: vouched.sealed.clone(),
        ..fresh
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;
    use crate::domain::{Clock, Identity, ManualClock};
    use crate::store::scratch::Scratch;

    struct Replica {
        known: Known,
        clock: Arc<ManualClock>,
        /// What was ended, by its names in the house.
        ended: Arc<Mutex<Vec<String>>>,
    }

    fn replica(server: &Scratch, when_down: &str) -> Replica {
        let clock = Arc::new(ManualClock::at(1000));
        let (sessions, ended) = (Sessions::new(10), Arc::new(Mutex::new(Vec::new())));
        sessions.share(&server.store_when_down(when_down, clock.clone()));
        let noted = Arc::clone(&ended);
        sessions.at_the_end(move |_, id, _| noted.lock().push(id.to_owned()));
        Replica { known: Known::new("p".to_owned(), sessions), clock, ended }
    }

    impl Replica {
        /// The portal says that the cookie is hers; what that is called in the house.
        async fn takes(&self, user: &str) -> Option<String> {
            let identity = Identity::new(user.to_owned(), "", "", vec![]).unwrap();
            let word = Word { identity, sid: None, left: None, password: None };
            let (unix, fresh_until) = (self.clock.unix(), self.clock.now().plus(Duration::from_secs(60)));
            let vouched = Vouched { word, expires: unix + 3600, fresh_until, sealed: None, leaves: false };
            self.known.take("cookie", &vouched, unix).await.ok()?;
            match self.known.find("cookie", unix)?.1 {
                Record::In(id, _) => Some(id),
                Record::SignedOut(_) => None,
            }
        }

        async fn lapses(&self) {
            self.known.lapse(&self.known.key("cookie"), self.clock.unix()).await;
        }
    }

    #[tokio::test]
    async fn whoever_comes_again_right_after_a_no_is_somebody_new_to_all_replicas() {
        let server = Scratch::start().await;
        let [one, other] = [(); 2].map(|()| replica(&server, "refuse"));
        let first = one.takes("ana").await.unwrap();
        assert_eq!(other.takes("ana").await.as_deref(), Some(first.as_str()));
        for replica in [&one, &other] {
            replica.clock.advance(Duration::from_secs(5));
        }
        one.lapses().await;
        let second = one.takes("ana").await.unwrap();
        assert_ne!(second, first);
        assert_eq!(*one.ended.lock(), [first], "what was opened from it is closed");
        let late = replica(&server, "refuse");
        assert_eq!(late.takes("ana").await, Some(second));
    }

    #[tokio::test]
    async fn a_copy_that_has_ended_takes_no_place_of_what_others_have() {
        let server = Scratch::start().await;
        let [one, other] = [(); 2].map(|()| replica(&server, "refuse"));
        let id = one.takes("ana").await;
        other.clock.advance(Duration::from_secs(1800));
        assert_eq!(other.takes("ana").await, id);
        // The store hears of it soon.
        let mut newest = None;
        while newest != Some(6400) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let late = replica(&server, "refuse");
            let key = late.known.key("cookie");
            newest = late.known.sessions.newest("p", &key, 0).await.unwrap().map(|held| held.expires);
        }
        one.clock.advance(Duration::from_secs(4000));
        assert_eq!(one.takes("ana").await, id);
        assert!(one.ended.lock().is_empty());
    }
}
