//! Access tokens that API callers bring themselves (RFC 6750). They are checked here, by the provider's
//! keys; what was found out is kept until the token ends, under a keyed hash of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;

use super::House;
use super::claims::{self, AccessToken};
use super::keys::{Signed, Unverified};
use super::session::Tokens;
use crate::domain::{Identity, Reason, UnixSeconds};
use crate::portal::{HeldSession, PortalSession, Verdict};

/// Most tokens that are kept. One more is checked each time it comes.
const MOST: usize = 10_000;

/// What is in an `Authorization` header.
pub(super) enum Brought {
    /// A good token: its id in the house, and whose it is.
    Known(String, Arc<HeldSession>),
    /// Nobody can tell without the provider's keys, or without what other replicas know.
    Unasked,
    /// No good one.
    Worthless(Reason),
    /// No token.
    Nothing,
}

/// The tokens that were seen.
pub(super) struct Bearers {
    seen: Arc<Seen>,
}

struct Seen {
    house: Arc<House>,
    good: DashMap<String, Arc<HeldSession>>,
    last_end: AtomicU64,
    /// Up to where has been heard what other replicas noted, and what was missed.
    heard: (AtomicU64, AtomicU64),
}

/// The token in an `Authorization` header.
pub(super) fn token(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(plain)).then_some(token)
}

impl Bearers {
    pub(super) fn new(house: Arc<House>) -> Self {
        let (noted, lost) = house.kept.notes().heard();
        let (last_end, heard) = (AtomicU64::new(0), (AtomicU64::new(noted), AtomicU64::new(lost)));
        let seen = Seen { house, good: DashMap::new(), last_end, heard };
        Self { seen: Arc::new(seen) }
    }

    /// What can be said of the token without asking anybody.
    pub(super) fn look_up(&self, header: Option<&str>, now: UnixSeconds) -> Brought {
        let Some(token) = header.and_then(token).filter(|_| !self.seen.house.settings.audiences.is_empty()) else {
            return Brought::Nothing;
        };
        let id = self.seen.id_of(token);
        self.seen.forget_ended();
        let held = self.seen.good.get(&id).map(|held| Arc::clone(&held));
        if let Some(held) = held {
            return match held.expires > now {
                true => Brought::Known(id, held),
                false => Brought::Worthless(Reason::Expired),
            };
        }
        match self.seen.house.provider.verify_now(token) {
            None => Brought::Unasked,
            Some(Err(Unverified::UnknownKey)) if self.seen.house.provider.may_ask_for_keys() => Brought::Unasked,
            Some(Err(_)) => Brought::Worthless(Reason::Forged),
            // Another replica may know that its session has ended.
            Some(Ok(_)) if self.seen.house.kept.store().is_some() => Brought::Unasked,
            Some(Ok(signed)) => {
                let read = self.seen.read(&id, token, &signed, now);
                match read.and_then(|(held, issued)| self.seen.keep(&id, &held, issued).map(|()| held)) {
                    Ok(held) => Brought::Known(id, held),
                    Err(reason) => Brought::Worthless(reason),
                }
            }
        }
    }

    /// The same after asking for the keys.
    pub(super) fn ask(&self, token: String) -> impl Future<Output = Verdict<'static>> + Send + use<> {
        let seen = Arc::clone(&self.seen);
        async move {
            let id = seen.id_of(&token);
            let signed = match seen.house.provider.verify(&token).await {
                Err(outage) => return Verdict::Unreachable { retry_after: outage.retry_after() },
                Ok(Err(_)) => return Verdict::Rejected(Reason::Forged),
                Ok(Ok(signed)) => signed,
            };
            match seen.read(&id, &token, &signed, seen.house.clock.unix()) {
                Ok((held, issued)) => seen.unless_ended(id, held, issued).await,
                Err(reason) => Verdict::Rejected(reason),
            }
        }
    }

    /// How long one of them may still last, in seconds.
    pub(super) fn longest_left(&self) -> u64 {
        self.seen.last_end.load(Ordering::Relaxed).saturating_sub(self.seen.house.clock.unix())
    }

    /// Whose a token of this id is.
    pub(super) fn whose(&self, id: &str, now: UnixSeconds) -> Option<Identity<'static>> {
        let held = self.seen.good.get(id)?;
        (held.expires > now).then(|| held.identity.clone())
    }

    /// Forgets what is known of a token. It is refused by its id until its end all the same.
    pub(super) fn end(&self, id: &str) -> Option<UnixSeconds> {
        self.seen.good.remove(id).map(|(_, held)| held.expires)
    }

    /// Somebody has signed out here: tokens that were issued before to the same session of the provider are
    /// good for nothing any more. Later ones are, since the provider then stands by the session.
    pub(super) fn end_beside(&self, memos: &[String]) {
        if self.seen.house.settings.audiences.is_empty() {
            return;
        }
        for memo in memos.iter().filter(|memo| memo.starts_with("sid:")) {
            self.seen.house.note_end(&left(memo));
            self.seen.good.retain(|_, held| !held.memos.contains(memo));
        }
    }

    /// The ids of tokens of which the provider says so.
    pub(super) fn ids_with(&self, memo: &str) -> Vec<String> {
        let named = self.seen.good.iter().filter(|held| held.memos.iter().any(|one| one == memo));
        named.map(|held| held.key().clone()).collect()
    }
}

impl Seen {
    /// Other than that of any cookie, whatever value it has.
    fn id_of(&self, token: &str) -> String {
        self.house.kept.id_of(&self.house.name, &format!("bearer\n{token}"))
    }

    /// Whose a genuine token is and when it was issued; or why it is good for nothing.
    fn read(
        &self,
        id: &str,
        token: &str,
        signed: &Signed,
        now: UnixSeconds,
    ) -> Result<(Arc<HeldSession>, UnixSeconds), Reason> {
        let house = &self.house;
        let access = match claims::access_token(signed, &house.settings, now) {
            Ok(access) => access,
            Err(claims::Flaw::Ended) => return Err(Reason::Expired),
            Err(flaw) => {
                tracing::debug!(portal = house.name, %flaw, "a bearer token is not taken");
                return Err(Reason::Forged);
            }
        };
        let identity = match house.settings.members.identity(&[&signed.claims]) {
            Ok(identity) => identity,
            Err(unusable) => {
                tracing::warn!(portal = house.name, %unusable, "a bearer token is not taken");
                return Err(Reason::Forged);
            }
        };
        let mut held = HeldSession::new(identity, access.ends, None);
        let ends = house.clock.now().plus(Duration::from_secs(access.ends.saturating_sub(now)));
        held.sealed = Tokens::of_bearer(token).sealed(&house.kept, id);
        held.good_until = ends;
        held.memos = memos(&access).collect();
        self.last_end.fetch_max(access.ends, Ordering::Relaxed);
        Ok((Arc::new(held), access.issued.unwrap_or(0)))
    }

    /// Keeps a good token that was issued then, unless it has ended as far as is known here.
    fn keep(&self, id: &str, held: &Arc<HeldSession>, issued: UnixSeconds) -> Result<(), Reason> {
        if self.good.len() >= MOST {
            let now = self.house.clock.unix();
            self.good.retain(|_, held| held.expires > now);
        }
        if self.good.len() < MOST {
            self.good.insert(id.to_owned(), Arc::clone(held));
        }
        // Looked at only now: an end that comes later finds the token itself.
        if self.has_ended_here(held, issued) {
            self.good.remove(id);
            return Err(Reason::Expired);
        }
        Ok(())
    }

    fn has_ended_here(&self, held: &HeldSession, issued: UnixSeconds) -> bool {
        let has_ended = |memo: &str| self.house.has_ended_here(memo, issued);
        held.memos.iter().any(|memo| has_ended(memo) || has_ended(&left(memo)))
    }

    /// Forgets the tokens of what has ended at another replica since somebody last looked; all, where that may have
    /// been missed. One that is good nevertheless is looked at anew.
    fn forget_ended(&self) {
        let (noted, lost) = self.house.kept.notes().heard();
        let is_new =
            |known: &AtomicU64, now| known.load(Ordering::Relaxed) != now && known.swap(now, Ordering::Relaxed) != now;
        if is_new(&self.heard.1, lost) {
            self.good.clear();
        }
        if is_new(&self.heard.0, noted) {
            self.good.retain(|_, held| !self.has_ended_here(held, 0));
        }
    }

    /// A good token that was issued then, unless any replica knows that it has ended.
    async fn unless_ended(&self, id: String, held: Arc<HeldSession>, issued: UnixSeconds) -> Verdict<'static> {
        if self.has_ended_here(&held, issued) {
            return Verdict::Rejected(Reason::Expired);
        }
        let (_, lost) = self.house.kept.notes().heard();
        for note in held.memos.iter().flat_map(|memo| [memo.clone(), left(memo)]) {
            match self.house.has_ended(&note, issued).await {
                Ok(false) => {}
                Ok(true) => return Verdict::Rejected(Reason::Expired),
                Err(outage) => return Verdict::Unreachable { retry_after: outage.retry_after() },
            }
        }
        // Kept only now: nobody else is to be let in with it before somebody has looked.
        if let Err(reason) = self.keep(&id, &held, issued) {
            return Verdict::Rejected(reason);
        }
        if self.house.kept.notes().heard().1 != lost {
            // What ended meanwhile may not have been heard of.
            self.good.remove(&id);
        }
        Verdict::Genuine(PortalSession::held_here(id, &held))
    }
}

/// Under which it is noted that somebody has signed out here.
fn left(memo: &str) -> String {
    format!("left {memo}")
}

fn memos(access: &AccessToken) -> impl Iterator<Item = String> {
    let sid = access.sid.as_ref().map(|sid| format!("sid:{sid}"));
    std::iter::once(format!("sub:{}", access.subject)).chain(sid)
}
