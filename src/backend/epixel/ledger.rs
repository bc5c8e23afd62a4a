//! What the host remembers of one client service: tokens that may still be redeemed, and API sessions.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::domain::{Clock, KnownAs, Moment, Person, SessionHandle, UnixSeconds};

/// Most API sessions of one client service.
const MOST_SESSIONS: usize = 1_000_000;
/// Most of them, and most unredeemed tokens of each, that belong to one portal session.
const MOST_PER_PERSON: usize = 64;
/// How long it is remembered that an API session has ended, so that the client is not told what it told
/// us.
const ENDED_FOR: Duration = Duration::from_secs(600);
/// How long no token is minted for a portal session that has ended: somebody may have looked at it just
/// before.
pub(super) const GONE_FOR: Duration = Duration::from_secs(5);

/// Names an API session to the client: opaque, and known to nobody else.
pub(super) type ApiSid = Arc<str>;
type TokenHash = [u8; 32];

/// Everything is done under one lock, so that of two who come with one token exactly one wins.
pub(super) struct Ledger {
    state: Mutex<State>,
    /// Told when a login was acknowledged.
    acknowledged: Notify,
    clock: Arc<dyn Clock>,
}

/// For whom an API session is.
pub(super) struct Guest {
    pub person: Person,
    pub known_as: KnownAs,
}

/// How somebody goes to the client service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The browser itself carries the token. All such entries of a portal session are one API session.
    Browser,
    /// Keyward does, and holds the keys that come of it. Each is an API session of its own, so that one
    /// can be ended without the others.
    Keyward,
}

/// A token, and what it is for.
pub(super) struct Minted {
    pub api_sid: ApiSid,
    pub token: String,
}

/// There are too many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

#[derive(Default)]
struct State {
    sessions: HashMap<ApiSid, ApiSession>,
    of_portal: HashMap<SessionHandle, Vec<ApiSid>>,
    by_end: BTreeSet<(UnixSeconds, ApiSid)>,
    tokens: HashMap<TokenHash, ApiSid>,
    token_lifetime: Duration,
    /// All live equally long, so the order of minting is that of expiry.
    token_ends: VecDeque<(Moment, TokenHash)>,
    ended: Recent<ApiSid>,
    gone: Recent<SessionHandle>,
}

struct ApiSession {
    guest: Arc<Guest>,
    way: Way,
    tokens: usize,
    verified: bool,
    acknowledged: bool,
    /// Whether its keys are held elsewhere, and will be logged out from there.
    handed_out: bool,
}

impl Ledger {
    pub(super) fn new(token_lifetime: Duration, clock: Arc<dyn Clock>) -> Self {
        let state = State { token_lifetime, ..State::default() };
        Self { state: Mutex::new(state), acknowledged: Notify::new(), clock }
    }

    /// Takes another lifetime, which counts for the tokens that wait as well if it is shorter.
    pub(super) fn set_token_lifetime(&self, lifetime: Duration) {
        let latest = self.clock.now().plus(lifetime);
        let mut state = self.state.lock();
        state.token_lifetime = lifetime;
        state.token_ends.iter_mut().for_each(|(end, _)| *end = latest.min(*end));
    }

    /// A new token for the client service, for this person.
    pub(super) fn mint(&self, guest: Guest, way: Way) -> Result<Minted, NoRoom> {
        let now = self.clock.now();
        let mut state = self.swept();
        if state.gone.holds(&guest.person.session) || guest.person.expires <= self.clock.unix() {
            return Err(NoRoom);
        }
        let api_sid = state.session_for(guest, way)?;
        let token = random();
        let hash = hash(&token);
        let session = state.sessions.get_mut(&api_sid).ok_or(NoRoom)?;
        if session.tokens >= MOST_PER_PERSON {
            return Err(NoRoom);
        }
        session.tokens += 1;
        state.tokens.insert(hash, Arc::clone(&api_sid));
        let end = now.plus(state.token_lifetime);
        state.token_ends.push_back((end, hash));
        Ok(Minted { api_sid, token })
    }

    /// Takes a token, once: whose it is, if it is still good.
    pub(super) fn redeem(&self, token: &str) -> Option<(ApiSid, Arc<Guest>)> {
        let mut state = self.swept();
        let api_sid = state.take_token(&hash(token))?;
        let session = state.sessions.get_mut(&api_sid)?;
        session.verified = true;
        let guest = Arc::clone(&session.guest);
        Some((api_sid, guest))
    }

    /// Makes a token worthless that was shown by somebody it is not for.
    pub(super) fn burn(&self, token: &str) {
        let mut state = self.swept();
        state.take_token(&hash(token));
    }

    /// Notes that the client has logged the person in. False if there is no such session.
    pub(super) fn acknowledge(&self, api_sid: &str) -> bool {
        let mut state = self.swept();
        let known = state.sessions.get_mut(api_sid).filter(|session| session.verified);
        let noted = known.map(|session| session.acknowledged = true).is_some();
        drop(state);
        self.acknowledged.notify_waiters();
        noted
    }

    /// Waits until the client has acknowledged. False if the session ended instead.
    pub(super) async fn acknowledgement(&self, api_sid: &str) -> bool {
        loop {
            let told = self.acknowledged.notified();
            let mut told = std::pin::pin!(told);
            // From here on nothing is missed.
            told.as_mut().enable();
            match self.state.lock().sessions.get(api_sid).map(|session| session.acknowledged) {
                Some(true) => return true,
                Some(false) => {}
                None => return false,
            }
            told.await;
        }
    }

    /// Whether the client came with the token of this session.
    pub(super) fn is_verified(&self, api_sid: &str) -> bool {
        self.state.lock().sessions.get(api_sid).is_some_and(|session| session.verified)
    }

    /// Notes that the keys of this session are held. False if it has ended meanwhile.
    pub(super) fn hand_out(&self, api_sid: &str) -> bool {
        self.state.lock().sessions.get_mut(api_sid).map(|session| session.handed_out = true).is_some()
    }

    /// For whom a session of the client's is.
    pub(super) fn guest(&self, api_sid: &str) -> Option<Arc<Guest>> {
        let state = self.swept();
        state.sessions.get(api_sid).filter(|session| session.verified).map(|session| Arc::clone(&session.guest))
    }

    /// Forgets a session that the client itself has ended, and says to which portal session it belonged.
    pub(super) fn end_by_client(&self, api_sid: &str) -> Option<SessionHandle> {
        let mut state = self.swept();
        let (api_sid, ended) = state.remove(api_sid)?;
        state.ended.note(api_sid, self.clock.now().plus(ENDED_FOR));
        drop(state);
        self.acknowledged.notify_waiters();
        Some(ended.guest.person.session.clone())
    }

    /// Whether the client itself has ended it, not long ago.
    pub(super) fn was_ended_by_client(&self, api_sid: &str) -> bool {
        self.swept().ended.holds(api_sid)
    }

    /// Forgets a session.
    pub(super) fn forget(&self, api_sid: &str) {
        self.state.lock().remove(api_sid);
    }

    /// Forgets every session that belongs to a portal session, which has ended, and gives those of which
    /// the client knows and nobody else.
    pub(super) fn take_beside(&self, session: &SessionHandle) -> Vec<ApiSid> {
        let mut state = self.swept();
        state.gone.note(session.clone(), self.clock.now().plus(GONE_FOR));
        let all = state.of_portal.get(session).cloned().unwrap_or_default();
        let taken = all.iter().filter_map(|api_sid| state.remove(api_sid));
        let beside = taken.filter(|(_, session)| session.verified && !session.handed_out);
        let beside = beside.map(|(api_sid, _)| api_sid).collect();
        drop(state);
        self.acknowledged.notify_waiters();
        beside
    }

    /// The state, without what has ended by itself.
    fn swept(&self) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.sweep(self.clock.now(), self.clock.unix());
        state
    }
}

impl State {
    fn session_for(&mut self, guest: Guest, way: Way) -> Result<ApiSid, NoRoom> {
        let handle = guest.person.session.clone();
        let of_portal = self.of_portal.get(&handle).map_or(&[][..], Vec::as_slice);
        let reusable = |api_sid: &&ApiSid| {
            let session = self.sessions.get(*api_sid);
            // One whose portal session was prolonged would end too early.
            let is_same = |held: &Guest| held.known_as == guest.known_as && held.person.expires == guest.person.expires;
            session.is_some_and(|session| session.way == Way::Browser && is_same(&session.guest))
        };
        if way == Way::Browser
            && let Some(api_sid) = of_portal.iter().find(reusable)
        {
            return Ok(Arc::clone(api_sid));
        }
        if of_portal.len() >= MOST_PER_PERSON {
            // Whoever holds its keys can end it without us.
            let held = |api_sid: &&ApiSid| self.sessions.get(*api_sid).is_some_and(|session| session.handed_out);
            let oldest = of_portal.iter().find(held).cloned().ok_or(NoRoom)?;
            self.remove(&oldest);
        }
        if self.sessions.len() >= MOST_SESSIONS {
            return Err(NoRoom);
        }
        let api_sid: ApiSid = random().into();
        self.by_end.insert((guest.person.expires, Arc::clone(&api_sid)));
        self.of_portal.entry(handle).or_default().push(Arc::clone(&api_sid));
        let session = ApiSession {
            guest: Arc::new(guest),
            way,
            tokens: 0,
            verified: false,
            acknowledged: false,
            handed_out: false,
        };
        self.sessions.insert(Arc::clone(&api_sid), session);
        Ok(api_sid)
    }

    fn take_token(&mut self, hash: &TokenHash) -> Option<ApiSid> {
        let api_sid = self.tokens.remove(hash)?;
        if let Some(session) = self.sessions.get_mut(&api_sid) {
            session.tokens -= 1;
        }
        Some(api_sid)
    }

    fn remove(&mut self, api_sid: &str) -> Option<(ApiSid, ApiSession)> {
        let (api_sid, session) = self.sessions.remove_entry(api_sid)?;
        let person = &session.guest.person;
        self.by_end.remove(&(person.expires, Arc::clone(&api_sid)));
        if let Some(of_portal) = self.of_portal.get_mut(&person.session) {
            of_portal.retain(|other| *other != api_sid);
            if of_portal.is_empty() {
                self.of_portal.remove(&person.session);
            }
        }
        Some((api_sid, session))
    }

    fn sweep(&mut self, now: Moment, unix: UnixSeconds) {
        while let Some((_, hash)) = past(&mut self.token_ends, now) {
            let Some(api_sid) = self.take_token(&hash) else { continue };
            let unused = |session: &ApiSession| !session.verified && session.tokens == 0;
            if self.sessions.get(&api_sid).is_some_and(unused) {
                self.remove(&api_sid);
            }
        }
        while let Some((end, api_sid)) = self.by_end.first().cloned() {
            if end > unix {
                break;
            }
            self.by_end.pop_first();
            self.remove(&api_sid);
        }
        self.ended.sweep(now);
        self.gone.sweep(now);
    }
}

/// What is remembered for a while, each for equally long.
struct Recent<T> {
    until: HashMap<T, Moment>,
    ends: VecDeque<(Moment, T)>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { until: HashMap::new(), ends: VecDeque::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Recent<T> {
    fn note(&mut self, what: T, until: Moment) {
        self.until.insert(what.clone(), until);
        self.ends.push_back((until, what));
    }

    fn holds<Q: Eq + std::hash::Hash + ?Sized>(&self, what: &Q) -> bool
    where
        T: std::borrow::Borrow<Q>,
    {
        self.until.contains_key(what)
    }

    fn sweep(&mut self, now: Moment) {
        while let Some((_, what)) = past(&mut self.ends, now) {
            if self.until.get(&what).is_some_and(|until| *until <= now) {
                self.until.remove(&what);
            }
        }
    }
}

/// Takes the first whose time has come.
fn past<T>(ends: &mut VecDeque<(Moment, T)>, now: Moment) -> Option<(Moment, T)> {
    let (until, _) = ends.front()?;
    if *until <= now { ends.pop_front() } else { None }
}

/// 256 random bits, as they can stand in an address.
fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests;
