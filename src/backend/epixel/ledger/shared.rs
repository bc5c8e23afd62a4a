//! What all replicas remember together, in the store.
//!
//! All API sessions of a portal session at one client service stand in one place with their tokens, so that its end is
//! one step, and so is everything else that counts once. What a token and an API session are called begins with the
//! name of that place: whichever replica is asked finds it by that. There they are known by keyed hashes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::here::Copied;
use super::{ApiSid, ENDED_FOR, GONE_FOR, Guest, MOST_PER_PERSON, Minted, Way};
use crate::backend::Profile;
use crate::domain::{ExposeSecret, Identity, KnownAs, Person, Secret, SessionHandle, SettledClock, UnixSeconds};
use crate::store::{Answer, Asking, Event, Place, Script, Store, StoreOutage, Waiting, millis};

/// API sessions, tokens, the mark of a portal session's end, and what was just taken out.
const KEYS: &[&str] = &["s", "t", "g", "x"];

/// A script that knows API sessions.
macro_rules! on_sessions {
    ($($name:ident = $file:literal)*) => {$(
        static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(KEYS, concat!(include_str!("lua/ledger.lua"), include_str!($file))));
    )*};
}

on_sessions! {
    MINT = "lua/mint.lua"
    REDEEM = "lua/redeem.lua"
    SESSION = "lua/session.lua"
    END = "lua/end.lua"
    PUT_BACK = "lua/put_back.lua"
}

/// How long others may need to put back what the store has lost.
const RECOVERY: Duration = Duration::from_secs(10);
/// No portal session is believed to last longer, so that the scripts' numbers hold its end.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The replicas' common memory of one client service.
pub(super) struct Shared {
    store: Arc<Store>,
    backend: [String; 2],
    /// Tells what was minted here alone from what another replica minted so: random, and another after a restart.
    origin: [u8; 8],
    /// Whoever waits for an acknowledgement.
    waiting: Arc<Waiting>,
    takes: Asking,
    /// By which it is told how long portal sessions last.
    settled: SettledClock,
    /// Until when what is not there may be about to be put back, in milliseconds.
    recovers_until: AtomicU64,
}

/// By whom something was minted that is called so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It is in the store.
    Store,
    /// It was minted while the store could not be asked, by this replica or another. Of API sessions the store is told
    /// later.
    Apart([u8; 8]),
}

/// What a token or an API session is called, taken apart.
struct Name {
    place: Place,
    origin: Origin,
}

/// What is done with an API session.
#[derive(Clone, Copy)]
enum Wish {
    Look,
    Wait,
    Acknowledge,
    Hold,
    End,
    Forget,
}

/// What the store says of an API session.
pub(super) enum Known {
    /// It is there, and its client came with a token; for whom it is.
    Here(Arc<Guest>, Way),
    /// The client itself has ended it, not long ago.
    Ended(Option<Arc<Guest>>),
    /// Nothing.
    Nothing,
}

/// How waiting for an acknowledgement goes on.
enum Wait {
    Over,
    GoesOn,
    Ended,
}

/// An API session as it is sealed.
#[derive(Deserialize, Serialize)]
struct Sealed<'a> {
    api_sid: Cow<'a, str>,
    is_browsers: bool,
    portal: Cow<'a, str>,
    session: Cow<'a, str>,
    expires: UnixSeconds,
    user: Cow<'a, str>,
    name: Cow<'a, str>,
    email: Cow<'a, str>,
    groups: Vec<Cow<'a, str>>,
    login: Cow<'a, str>,
    roles: Cow<'a, [String]>,
}

impl Shared {
    pub(super) fn new(store: &Arc<Store>, backend: &Profile) -> Self {
        Self {
            store: Arc::clone(store),
            backend: [backend.name.clone(), backend.url.to_string()],
            origin: rand::random(),
            waiting: Arc::default(),
            takes: Asking::default(),
            settled: SettledClock::new(Arc::clone(store.clock())),
            recovers_until: AtomicU64::default(),
        }
    }

    /// Whether people are led on while the store cannot be asked.
    pub(super) fn goes_on_without(&self) -> bool {
        self.store.goes_on_without()
    }

    /// A new name of something that this replica mints alone.
    pub(super) fn apart(&self, session: &SessionHandle) -> String {
        let secret: [u8; 16] = rand::random();
        URL_SAFE_NO_PAD.encode([self.place(session).as_bytes().as_slice(), &self.origin, &secret].concat())
    }

    /// Whether a token waits in this process's memory, if it waits at all.
    pub(super) fn is_here(&self, token: &str) -> bool {
        Name::read(token).is_some_and(|name| name.origin == Origin::Apart(self.origin))
    }

    /// Whether what is not in the store may be somewhere all the same: at the replica that minted it while the store
    /// could not be asked, or on its way back after a loss.
    pub(super) fn may_be_elsewhere(&self, called: &str) -> bool {
        let recovers = || self.store.clock().now().as_millis() < self.recovers_until.load(Ordering::Relaxed);
        match Name::read(called).map(|name| name.origin) {
            Some(Origin::Apart(origin)) => origin != self.origin || recovers(),
            Some(Origin::Store) => recovers(),
            None => false,
        }
    }

    /// A new token, and the API session it is for. `None` where there are too many, or the portal session has just
    /// ended, at whichever replica.
    pub(super) async fn mint(
        &self,
        guest: &Guest,
        way: Way,
        token_life: Duration,
    ) -> Result<Option<Minted>, StoreOutage> {
        let place = self.place(&guest.person.session);
        let name = || {
            let secret: [u8; 16] = rand::random();
            URL_SAFE_NO_PAD.encode([place.as_bytes().as_slice(), &secret].concat())
        };
        let (token, api_sid) = (name(), ApiSid::from(name()));
        let mark = self.session_mark(&api_sid);
        let sealed = self.sealed(&place, &mark, &api_sid, guest, way);
        let life = millis(self.life(guest));
        let (token_life, most) = (millis(token_life), MOST_PER_PERSON.to_string());
        let token_mark = self.token_mark(&token);
        let mut like = self.like(guest, way);
        loop {
            let arguments: [&[u8]; 7] =
                [token_mark.as_bytes(), mark.as_bytes(), &like, &sealed, &life, &token_life, most.as_bytes()];
            let answer = self.store.run(&MINT, &place, &arguments).await?;
            if answer.word(0) != "minted" {
                return Ok(None);
            }
            if answer.bytes(1) == Some(mark.as_bytes()) {
                return Ok(Some(Minted { api_sid, token }));
            }
            match self.opened(&place, &answer, 1) {
                Some((api_sid, ..)) => return Ok(Some(Minted { api_sid, token })),
                // It does not open, so there is none, and another takes its place.
                None => like.clear(),
            }
        }
    }

    /// Takes a token: of all replicas that do so, one is told for whom it is. With `burn` nobody is.
    pub(super) async fn redeem(
        &self,
        token: &str,
        token_life: Duration,
        burn: bool,
    ) -> Result<Option<(ApiSid, Arc<Guest>, Way)>, StoreOutage> {
        let Some(Name { place, origin }) = Name::read(token) else { return Ok(None) };
        if origin != Origin::Store {
            // Whoever minted it knows. Nobody else is told "no" for that.
            return if burn { Ok(None) } else { Err(StoreOutage::Down) };
        }
        let (mark, life) = (self.token_mark(token), millis(token_life));
        let burn: &[u8] = if burn { b"burn" } else { b"" };
        let answer = self.store.run(&REDEEM, &place, &[mark.as_bytes(), &life, burn]).await?;
        Ok(if answer.word(0) == "redeemed" { self.opened(&place, &answer, 1) } else { None })
    }

    /// For whom a session of the client's is.
    pub(super) async fn look(&self, api_sid: &str) -> Result<Known, StoreOutage> {
        self.ask(api_sid, Wish::Look).await
    }

    /// Notes that the client has logged the person in, and has whoever waits for it told.
    pub(super) async fn acknowledge(&self, api_sid: &str) -> Result<Known, StoreOutage> {
        self.ask(api_sid, Wish::Acknowledge).await
    }

    /// Notes that the keys of this session are held: with its portal session it is ended by them.
    pub(super) async fn hold(&self, api_sid: &str) -> Result<Known, StoreOutage> {
        self.ask(api_sid, Wish::Hold).await
    }

    /// The client has ended it. Done again it says so again, so that whoever has not heard the answer, or did not live
    /// to end the portal session, loses nothing.
    pub(super) async fn end_by_client(&self, api_sid: &str) -> Result<Known, StoreOutage> {
        self.ask(api_sid, Wish::End).await
    }

    /// Forgets a session.
    pub(super) async fn forget(&self, api_sid: &str) -> Result<(), StoreOutage> {
        self.ask(api_sid, Wish::Forget).await.map(drop)
    }

    /// Waits until the client has acknowledged, at whichever replica. False if the session ended instead.
    pub(super) async fn acknowledgement(&self, api_sid: &str) -> Result<bool, StoreOutage> {
        let Some(Name { place, .. }) = Name::read(api_sid) else { return Ok(false) };
        let mark = self.session_mark(api_sid);
        loop {
            // From here on nothing is missed.
            let told = self.waiting.at(mark);
            let answer = self.run(&place, &mark, Wish::Wait).await?;
            match Wait::of(&answer) {
                Wait::Over => return Ok(true),
                Wait::Ended => return Ok(false),
                Wait::GoesOn => told.await,
            }
        }
    }

    /// Ends all sessions of a portal session, and has no token minted for it in the next seconds, by any replica. Gives
    /// those of which the client knows and nobody else: of all replicas one has each. Asked again after a call that
    /// failed it gives them again, for five minutes. Of those that are known here it gives those that the store does not
    /// know, or has lost.
    pub(super) async fn end(&self, session: &SessionHandle, here: &[ApiSid]) -> Result<Vec<ApiSid>, StoreOutage> {
        let place = self.place(session);
        let mut asked = self.takes.begin(place);
        let (gone_for, name) = (millis(GONE_FOR), asked.name());
        let answer = asked.hear(self.store.run(&END, &place, &[&gone_for, &name])).await?;
        let (mut beside, mut marks) = (Vec::new(), HashSet::new());
        for at in (0..answer.len()).step_by(3) {
            let Some(mark) = mark_at(&answer, at) else { continue };
            marks.insert(mark);
            self.settled(&mark, answer.number(at + 1)).await;
            let opened = answer.bytes(at + 2).and_then(|sealed| self.unsealed(&place, &mark, sealed));
            beside.extend(opened.map(|(api_sid, ..)| api_sid));
        }
        beside.extend(here.iter().filter(|api_sid| !marks.contains(&self.session_mark(api_sid))).cloned());
        Ok(beside)
    }

    /// Tells the store of a session that it does not know, or has lost. Says whether it is there by now; a portal
    /// session that has just ended has none.
    pub(super) async fn put_back(&self, copy: &Copied) -> Result<bool, StoreOutage> {
        let Copied { api_sid, guest, way, acknowledged, handed_out } = copy;
        let (place, mark) = (self.place(&guest.person.session), self.session_mark(api_sid));
        let sealed = self.sealed(&place, &mark, api_sid, guest, *way);
        let (life, like) = (millis(self.life(guest)), self.like(guest, *way));
        let [acknowledged, handed_out] = [acknowledged, handed_out].map(|is| if *is { b"1" } else { b"0" });
        let arguments: [&[u8]; 6] = [mark.as_bytes(), &like, &sealed, &life, acknowledged, handed_out];
        Ok(self.store.run(&PUT_BACK, &place, &arguments).await?.word(0) != "gone")
    }

    /// Something is settled that somebody here may wait for.
    pub(super) fn wake(&self, place: &[u8; 16]) {
        self.waiting.wake(&Place::from_bytes(*place));
    }

    /// The store has lost something: others put back what they have.
    pub(super) fn has_lost(&self) {
        let until = self.store.clock().now().plus(RECOVERY);
        self.recovers_until.store(until.as_millis(), Ordering::Relaxed);
        self.waiting.wake_all();
    }

    /// What is told when something happens at this session.
    #[cfg(test)]
    pub(super) fn settles(&self, api_sid: &str) -> [u8; 16] {
        *self.session_mark(api_sid).as_bytes()
    }

    /// Ends a portal session's, and does not hear what came of it.
    #[cfg(test)]
    pub(super) async fn end_unheard(&self, session: &SessionHandle) {
        let place = self.place(session);
        let mut asked = self.takes.begin(place);
        let (gone_for, name) = (millis(GONE_FOR), asked.name());
        let done = self.store.run(&END, &place, &[&gone_for, &name]).await;
        drop(asked.hear(async { done.and(Err::<(), _>(StoreOutage::TimedOut)) }).await);
    }

    async fn ask(&self, api_sid: &str, wish: Wish) -> Result<Known, StoreOutage> {
        let Some(Name { place, .. }) = Name::read(api_sid) else { return Ok(Known::Nothing) };
        let mark = self.session_mark(api_sid);
        let answer = self.run(&place, &mark, wish).await?;
        if matches!(wish, Wish::Acknowledge | Wish::End | Wish::Forget) {
            self.settled(&mark, answer.number(1)).await;
        }
        let opened = answer.bytes(2).and_then(|sealed| self.unsealed(&place, &mark, sealed));
        Ok(match (answer.word(0), opened) {
            ("done", Some((_, guest, way))) => Known::Here(guest, way),
            ("ended", opened) => Known::Ended(opened.map(|(_, guest, _)| guest)),
            _ => Known::Nothing,
        })
    }

    async fn run(&self, place: &Place, mark: &Place, wish: Wish) -> Result<Answer, StoreOutage> {
        self.store.run(&SESSION, place, &[mark.as_bytes(), wish.word().as_bytes(), &millis(ENDED_FOR)]).await
    }

    /// What happens at a session is settled: those who wait here look again, and those elsewhere if there are any.
    async fn settled(&self, mark: &Place, waited: Option<u64>) {
        self.waiting.wake(mark);
        if waited == Some(1) {
            // Where it cannot be told now, it is told later.
            drop(self.store.tell(Event::Settled { place: *mark.as_bytes() }).await);
        }
    }

    /// Where the API sessions of a portal session stand.
    fn place(&self, session: &SessionHandle) -> Place {
        let [name, url] = &self.backend;
        self.store.place("epixel", &[name, url, &session.portal, &session.id].map(|part| part.as_bytes()))
    }

    fn session_mark(&self, api_sid: &str) -> Place {
        self.mark("epixel session", api_sid)
    }

    fn token_mark(&self, token: &str) -> Place {
        self.mark("epixel token", token)
    }

    /// What something is known by in the store. Of another client service's it is another.
    fn mark(&self, kind: &str, called: &str) -> Place {
        let [name, url] = &self.backend;
        self.store.place(kind, &[name.as_bytes(), url.as_bytes(), called.as_bytes()])
    }

    /// By what it is told that a browser's entries are one session; nothing where they are not.
    fn like(&self, guest: &Guest, way: Way) -> Vec<u8> {
        if way == Way::Keyward {
            return Vec::new();
        }
        let Guest { person, known_as } = guest;
        let expires = person.expires.to_be_bytes();
        let parts = [expires.as_slice(), known_as.login.as_bytes()];
        let roles = known_as.roles.iter().map(String::as_bytes);
        let parts: Vec<&[u8]> = parts.into_iter().chain(roles).collect();
        self.store.place("epixel guest", &parts).as_bytes().to_vec()
    }

    fn life(&self, guest: &Guest) -> Duration {
        Duration::from_secs(guest.person.expires.saturating_sub(self.settled.unix())).min(LONGEST)
    }

    fn sealed(&self, place: &Place, mark: &Place, api_sid: &str, guest: &Guest, way: Way) -> Vec<u8> {
        let text = Sealed::of(api_sid, guest, way).text();
        self.store.seal(place, version(mark), text.expose_secret().as_bytes())
    }

    /// The API session whose mark and sealed record begin here.
    fn opened(&self, place: &Place, answer: &Answer, at: usize) -> Option<(ApiSid, Arc<Guest>, Way)> {
        self.unsealed(place, &mark_at(answer, at)?, answer.bytes(at + 1)?)
    }

    fn unsealed(&self, place: &Place, mark: &Place, sealed: &[u8]) -> Option<(ApiSid, Arc<Guest>, Way)> {
        if sealed.is_empty() {
            return None;
        }
        let text = Secret::from(String::from_utf8(self.store.unseal(place, version(mark), sealed)?).ok()?);
        serde_json::from_str::<Sealed<'_>>(text.expose_secret()).ok()?.read()
    }
}

impl Name {
    /// Takes one apart; `None` for everything that is none.
    fn read(called: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(called).ok()?;
        let (place, rest) = bytes.split_first_chunk()?;
        let origin = match rest.len() {
            16 => Origin::Store,
            24 => Origin::Apart(*rest.first_chunk()?),
            _ => return None,
        };
        Some(Self { place: Place::from_bytes(*place), origin })
    }
}

impl Wish {
    const fn word(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Wait => "wait",
            Self::Acknowledge => "acknowledge",
            Self::Hold => "hold",
            Self::End => "end",
            Self::Forget => "forget",
        }
    }
}

impl Wait {
    fn of(answer: &Answer) -> Self {
        match answer.word(0) {
            "done" => Self::Over,
            "here" => Self::GoesOn,
            _ => Self::Ended,
        }
    }
}

impl<'a> Sealed<'a> {
    fn of(api_sid: &'a str, guest: &'a Guest, way: Way) -> Self {
        let Guest { person, known_as } = guest;
        let identity = &person.identity;
        Self {
            api_sid: api_sid.into(),
            is_browsers: way == Way::Browser,
            portal: person.session.portal.as_str().into(),
            session: person.session.id.as_str().into(),
            expires: person.expires,
            user: identity.user().into(),
            name: identity.name().into(),
            email: identity.email().into(),
            groups: identity.roles().iter().map(|role| Cow::Borrowed(&**role)).collect(),
            login: known_as.login.as_str().into(),
            roles: known_as.roles.as_slice().into(),
        }
    }

    fn text(&self) -> Secret {
        // Texts can always be written.
        Secret::from(serde_json::to_string(self).unwrap_or_default())
    }

    fn read(self) -> Option<(ApiSid, Arc<Guest>, Way)> {
        let identity = Identity::new(self.user, self.name, self.email, self.groups).ok()?.into_owned();
        let session = SessionHandle { portal: self.portal.into(), id: self.session.into() };
        let person = Person { session, identity, expires: self.expires };
        let known_as = KnownAs { login: self.login.into(), roles: self.roles.into_owned() };
        let way = if self.is_browsers { Way::Browser } else { Way::Keyward };
        Some((self.api_sid.into(), Arc::new(Guest { person, known_as }), way))
    }
}

fn mark_at(answer: &Answer, at: usize) -> Option<Place> {
    Some(Place::from_bytes(answer.bytes(at)?.try_into().ok()?))
}

/// Under which a record is sealed: one cannot be put in the place of another.
fn version(mark: &Place) -> u64 {
    mark.as_bytes().first_chunk().copied().map(u64::from_be_bytes).unwrap_or_default()
}
