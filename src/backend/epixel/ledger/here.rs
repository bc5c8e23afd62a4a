//! What this process remembers. Without a store that is all there is. Where replicas share one it is what was minted
//! while the store could not be asked, and copies of sessions that were taken up here: whoever has one goes on with it
//! through an outage, and puts it back where the store has lost it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::{ApiSid, ENDED_FOR, GONE_FOR, Guest, MOST_PER_PERSON, Minted, Way};
use crate::domain::{Clock, Moment, Person, SessionHandle, SettledClock, UnixSeconds};

/// Most API sessions of one client service.
const MOST_SESSIONS: usize = 1_000_000;
type TokenHash = [u8; 32];

/// Everything is done under one lock, so that of two who come with one token exactly one wins.
pub(super) struct Here {
    state: Mutex<State>,
    /// Told when a login was acknowledged.
    acknowledged: Notify,
    clock: Arc<dyn Clock>,
    /// By which sessions are forgotten that have ended by themselves.
    settled: SettledClock,
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
    /// Of which the store is to be told.
    owed: BTreeSet<ApiSid>,
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
    /// Whether it is a copy of one that stood in the store.
    adopted: bool,
    /// Whether it stands in the store, as far as is known.
    shelved: bool,
}

/// What the store is told of a session.
pub(super) struct Copied {
    pub api_sid: ApiSid,
    pub guest: Arc<Guest>,
    pub way: Way,
    pub acknowledged: bool,
    pub handed_out: bool,
}

impl Here {
    pub(super) fn new(token_lifetime: Duration, clock: Arc<dyn Clock>) -> Self {
        let state = State { token_lifetime, ..State::default() };
        Self {
            state: Mutex::new(state),
            acknowledged: Notify::new(),
            settled: SettledClock::new(Arc::clone(&clock)),
            clock,
        }
    }

    /// How long a token lives.
    pub(super) fn token_lifetime(&self) -> Duration {
        self.state.lock().token_lifetime
    }

    /// Takes another lifetime, which counts for the tokens that wait as well if it is shorter.
    pub(super) fn set_token_lifetime(&self, lifetime: Duration) {
        let latest = self.clock.now().plus(lifetime);
        let mut state = self.state.lock();
        state.token_lifetime = lifetime;
        state.token_ends.iter_mut().for_each(|(end, _)| *end = latest.min(*end));
    }

    /// A new token for the client service, for this person; `name` gives new names, which nobody can guess.
    pub(super) fn mint(&self, guest: Arc<Guest>, way: Way, name: impl Fn() -> String) -> Result<Minted, NoRoom> {
        let now = self.clock.now();
        let mut state = self.swept();
        if state.gone.holds(&guest.person.session) || guest.person.expires <= self.clock.unix() {
            return Err(NoRoom);
        }
        let api_sid = state.session_for(guest, way, &name)?;
        let token = name();
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

    /// Whether their portal session has ended, as far as is known here.
    pub(super) fn is_over(&self, person: &Person) -> bool {
        self.swept().gone.holds(&person.session) || person.expires <= self.clock.unix()
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

    /// Keeps a copy of a session that was taken up, and stands in the store. Where there are too many there is none.
    pub(super) fn adopt(&self, api_sid: &ApiSid, guest: &Arc<Guest>, way: Way, handed_out: bool) {
        let mut state = self.swept();
        let held = |state: &State| state.of_portal.get(&guest.person.session).map_or(0, Vec::len);
        if !state.sessions.contains_key(api_sid) {
            let is_full = held(&state) >= MOST_PER_PERSON || state.sessions.len() >= MOST_SESSIONS;
            if is_full || guest.person.expires <= self.clock.unix() {
                return;
            }
            state.insert(Arc::clone(api_sid), ApiSession::new(Arc::clone(guest), way));
        }
        if let Some(session) = state.sessions.get_mut(api_sid) {
            (session.verified, session.adopted, session.shelved) = (true, true, true);
            session.handed_out |= handed_out;
        }
        state.owed.remove(api_sid);
    }

    /// Whether this is known here and does not stand in the store.
    pub(super) fn is_alone(&self, api_sid: &str) -> bool {
        self.swept().sessions.get(api_sid).is_some_and(|session| session.verified && !session.shelved)
    }

    /// The store is to be told of this one as soon as it can be.
    pub(super) fn owe(&self, api_sid: &ApiSid) {
        self.state.lock().owed.insert(Arc::clone(api_sid));
    }

    /// The store may have lost whatever it had: it is to be told of all that is here.
    pub(super) fn owe_all(&self) {
        let mut state = self.swept();
        let State { sessions, owed, .. } = &mut *state;
        for (api_sid, session) in sessions.iter_mut().filter(|(_, session)| session.verified) {
            session.shelved = false;
            owed.insert(Arc::clone(api_sid));
        }
    }

    /// Whether there is one of which the store is to be told.
    pub(super) fn owes(&self) -> bool {
        !self.swept().owed.is_empty()
    }

    /// Some of those of which the store is to be told, beginning after this one. A login that is under way is not among
    /// them: it waits here for what the client says.
    pub(super) fn owed(&self, after: Option<&ApiSid>, most: usize) -> Vec<Copied> {
        let state = self.swept();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let copied = |api_sid: &ApiSid| {
            let is_due = |session: &&ApiSession| session.adopted || session.handed_out || session.way == Way::Browser;
            let session = state.sessions.get(api_sid).filter(is_due);
            let ApiSession { guest, way, acknowledged, handed_out, .. } = session?;
            let (api_sid, guest) = (Arc::clone(api_sid), Arc::clone(guest));
            Some(Copied { api_sid, guest, way: *way, acknowledged: *acknowledged, handed_out: *handed_out })
        };
        state.owed.range::<ApiSid, _>((from, Bound::Unbounded)).filter_map(copied).take(most).collect()
    }

    /// The store knows this one by now.
    pub(super) fn is_told(&self, api_sid: &str) {
        let mut state = self.state.lock();
        state.owed.remove(api_sid);
        if let Some(session) = state.sessions.get_mut(api_sid) {
            session.shelved = true;
        }
    }

    /// The state, without what has ended by itself.
    fn swept(&self) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.sweep(self.clock.now(), self.settled.unix());
        state
    }
}

impl ApiSession {
    const fn new(guest: Arc<Guest>, way: Way) -> Self {
        Self {
            guest,
            way,
            tokens: 0,
            verified: false,
            acknowledged: false,
            handed_out: false,
            adopted: false,
            shelved: false,
        }
    }
}

impl State {
    fn session_for(&mut self, guest: Arc<Guest>, way: Way, name: impl Fn() -> String) -> Result<ApiSid, NoRoom> {
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
        let api_sid: ApiSid = name().into();
        self.insert(Arc::clone(&api_sid), ApiSession::new(guest, way));
        Ok(api_sid)
    }

    fn insert(&mut self, api_sid: ApiSid, session: ApiSession) {
        let person = &session.guest.person;
        self.by_end.insert((person.expires, Arc::clone(&api_sid)));
        self.of_portal.entry(person.session.clone()).or_default().push(Arc::clone(&api_sid));
        self.sessions.insert(api_sid, session);
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
        self.owed.remove(&api_sid);
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

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests;
