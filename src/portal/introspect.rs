//! Portal kind `introspect`: the portal's own session cookie, whatever it is. Keyward asks the portal whose it
//! is, by one HTTP call, and believes the answer for a stated time.
//!
//! Only what the configuration calls a yes is a yes, and only what it calls a no is a no. Everything else
//! means that the portal could not be asked: whoever is known goes on for a stated grace, whoever is not is
//! told to come back. A verdict counts for the cookie, whichever browser shows it.

mod known;
mod lately;
mod pause;
mod question;
mod said;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

use self::known::{Known, Record, Vouched};
use self::lately::{Ends, Finding, Lately};
use self::pause::Pause;
use self::question::{Along, Caller};
use self::said::{Said, Word};
use self::settings::{Settings, Times};
use super::flights::Flights;
use super::registered::Registered;
use super::{
    Called, HeldSession, Keeps, Kind, NoPassword, PortalSession, Scratch, Sessions, Shown, SignedSession, Surroundings,
    Verdict, Verifier, Whose,
};
use crate::config::Section;
use crate::domain::{Clock, Moment, Outage, Reason, Secret, UnixSeconds};
use crate::wire::{Errands, Try};

/// This kind's entry in the table.
pub const KIND: Kind = Kind { name: "introspect", build };

/// Most cookies of one name that are looked at in one request: each may cost a call.
const MOST_LOOKED_UP: usize = 4;
/// Most questions under way about known sessions, and as many about others, so that nobody who makes up
/// cookies keeps those out who are signed in.
const MOST_AT_ONCE: usize = 256;
/// How long nobody asks again about a cookie of which the portal said something strange.
const UNCLEAR_FOR: Duration = Duration::from_secs(2);
/// When to come back where there were too many questions at once.
const BUSY: Duration = Duration::from_secs(1);
/// How long it is remembered that the portal's side has ended a session: as long as an earlier answer may be
/// under way.
const CALLED_OFF_FOR: Duration = Duration::from_secs(60);

fn build(section: &mut Section, surroundings: &Surroundings) -> Box<dyn Verifier> {
    let Settings { cookie, call, reading, times } = Settings::read(section);
    let Some(caller) = Caller::new(cookie.clone(), call, reading, section, surroundings) else {
        // What is returned after a mistake is thrown away.
        return Box::new(Registered::new(cookie, surroundings));
    };
    let Surroundings { name, sessions, errands, clock, .. } = surroundings;
    Box::new(Introspect(Arc::new(Inner {
        cookie,
        times,
        caller: Arc::new(caller),
        known: Known::new(name.clone(), Arc::clone(sessions)),
        sessions: Arc::clone(sessions),
        refused: Lately::default(),
        ends: sessions.keepsake(name, Ends::default),
        pause: Pause::default(),
        guests: Flights::new(Arc::clone(errands), MOST_AT_ONCE),
        strangers: Flights::new(Arc::clone(errands), MOST_AT_ONCE),
        errands: Arc::clone(errands),
        clock: Arc::clone(clock),
        portal: name.clone(),
    })))
}

struct Introspect(Arc<Inner>);

struct Inner {
    portal: String,
    cookie: String,
    times: Times,
    caller: Arc<Caller>,
    known: Known,
    sessions: Arc<Sessions>,
    /// Cookies for which the portal did not vouch.
    refused: Lately,
    /// Outlives a reload, as the sessions do.
    ends: Arc<Ends>,
    pause: Pause,
    /// Questions about known sessions.
    guests: Flights<String, ()>,
    /// Questions about everybody else.
    strangers: Flights<String, ()>,
    errands: Arc<Errands>,
    clock: Arc<dyn Clock>,
}

/// What is known of one cookie.
enum Look {
    In {
        id: String,
        held: Arc<HeldSession>,
        /// Whether to ask again before anybody has to wait for it.
        refresh: bool,
    },
    Out(Reason),
    /// Nobody can tell for this long.
    Unclear(Duration),
    Ask,
}

/// What all cookies of a request come to.
struct Sum {
    found: Option<(String, Arc<HeldSession>)>,
    planted: bool,
    unclear: Option<Duration>,
    reason: Reason,
}

/// Why there is no session.
enum Nobody {
    Rejected(Reason),
    Unclear(Duration),
}

impl From<Nobody> for Verdict<'_> {
    fn from(nobody: Nobody) -> Self {
        match nobody {
            Nobody::Rejected(reason) => Self::Rejected(reason),
            Nobody::Unclear(retry_after) => Self::Unreachable { retry_after },
        }
    }
}

impl Sum {
    const fn new() -> Self {
        Self { found: None, planted: false, unclear: None, reason: Reason::NoSession }
    }

    /// Two different sessions at once mean that somebody planted one, and nobody can tell which.
    fn add(&mut self, look: Look) {
        match look {
            Look::In { id, held, .. } => {
                self.planted |= self.found.as_ref().is_some_and(|(other, _)| *other != id);
                self.found = Some((id, held));
            }
            Look::Out(why) if self.reason == Reason::NoSession => self.reason = why,
            Look::Out(_) => {}
            Look::Unclear(wait) => self.unclear = self.unclear.max(Some(wait)),
            Look::Ask => self.unclear = self.unclear.max(Some(BUSY)),
        }
    }

    /// The session, or why there is none.
    fn into_session(self) -> Result<(String, Arc<HeldSession>), Nobody> {
        if self.planted {
            return Err(Nobody::Rejected(Reason::Forged));
        }
        // The one of which nobody can tell may be another person's.
        if let Some(wait) = self.unclear {
            return Err(Nobody::Unclear(wait.max(BUSY)));
        }
        self.found.ok_or(Nobody::Rejected(self.reason))
    }
}

impl Inner {
    /// What is known of a cookie, without asking.
    fn look(&self, cookie: &str, unix: UnixSeconds, now: Moment) -> Look {
        match self.known.find(cookie, unix) {
            Some((key, record)) => self.look_at(&key, record, now),
            None => {
                let lately = self.refused.find(&self.known.key(cookie), now);
                match (lately, self.pause.left(now)) {
                    (Some((Finding::No, _)), _) => Look::Out(Reason::NoSession),
                    (Some((_, wait)), _) | (None, Some(wait)) => Look::Unclear(wait),
                    (None, None) => Look::Ask,
                }
            }
        }
    }

    fn look_at(&self, key: &str, record: Record, now: Moment) -> Look {
        let fresh_until = record.held().fresh_until;
        if fresh_until > now {
            let soon = fresh_until.since(now) < self.times.cache_for / 4;
            return Self::is(record, soon && self.must_wait(key, now).is_none());
        }
        let wait = self.must_wait(key, now);
        let is_out = matches!(record, Record::SignedOut(_));
        match wait {
            Some(_) if is_out || self.is_in_grace(&record, now) => Self::is(record, false),
            Some(wait) => Look::Unclear(wait),
            // An outage, and not the first look at it: nobody waits for what will hardly come.
            None if self.pause.is_failing() && !is_out && self.is_in_grace(&record, now) => Self::is(record, true),
            None => Look::Ask,
        }
    }

    fn is(record: Record, refresh: bool) -> Look {
        match record {
            Record::In(id, held) => Look::In { id, held, refresh },
            Record::SignedOut(_) => Look::Out(Reason::Revoked),
        }
    }

    fn is_in_grace(&self, record: &Record, now: Moment) -> bool {
        record.held().fresh_until.plus(self.times.grace) > now
    }

    /// How long nobody may ask about a known session.
    fn must_wait(&self, key: &str, now: Moment) -> Option<Duration> {
        let unclear = self.refused.find(key, now).map(|(_, wait)| wait);
        unclear.max(self.pause.left(now))
    }

    /// Asks, if nobody does so already, and tells what is known then.
    async fn find_out(self: Arc<Self>, cookie: String, along: Along) -> Look {
        let look = self.look(&cookie, self.clock.unix(), self.clock.now());
        if !matches!(look, Look::Ask) {
            return look;
        }
        self.join(&cookie, along).await;
        let (unix, now) = (self.clock.unix(), self.clock.now());
        match self.look(&cookie, unix, now) {
            // Too many at once: whoever is known goes on as in any other outage.
            Look::Ask => match self.known.find(&cookie, unix) {
                Some((_, record)) if self.is_in_grace(&record, now) => Self::is(record, false),
                _ => Look::Unclear(BUSY),
            },
            look => look,
        }
    }

    async fn join(self: &Arc<Self>, cookie: &str, along: Along) {
        let key = self.known.key(cookie);
        let is_known = self.known.find(cookie, self.clock.unix()).is_some();
        let flights = if is_known { &self.guests } else { &self.strangers };
        let (inner, cookie) = (Arc::clone(self), cookie.to_owned());
        // Of one that broke off nothing is noted, and it is as if nobody had asked.
        let _ = flights.join(key, || inner.question(cookie, along, is_known)).await;
    }

    /// Asks about a known session while it still counts, so that nobody has to wait for the answer.
    fn refresh_behind(self: &Arc<Self>, cookie: &str, shown: &Shown<'_>) {
        if self.guests.is_under_way(&self.known.key(cookie)) {
            return;
        }
        let (inner, cookie, along) = (Arc::clone(self), cookie.to_owned(), self.caller.along(shown));
        self.errands.spawn(async move { inner.join(&cookie, along).await });
    }

    /// The one question about a cookie. Whatever comes of it is noted.
    async fn question(self: Arc<Self>, cookie: String, along: Along, is_known: bool) {
        let key = self.known.key(&cookie);
        let asked = self.clock.now();
        let said = self.caller.ask(&cookie, &along).await;
        let now = self.clock.now();
        if said.is_ok() && self.pause.answered() {
            tracing::info!(portal = self.portal, "the portal can be asked again");
        }
        match said {
            Ok(Said::Yes(word)) if !self.is_called_off(&key, &word, asked) => {
                let sid = word.sid.as_ref().map(|sid| self.known.key(sid));
                self.take(&cookie, &key, *word).await;
                // Looked at only now: an end that comes later finds the session itself.
                if !is_known && self.known.is_called_off_elsewhere(&key, sid.as_deref(), asked).await {
                    self.not_in(&key, now).await;
                }
            }
            Ok(Said::No | Said::Yes(_)) => self.not_in(&key, now).await,
            Err(outage) => self.failed(&key, is_known, (asked, now), &outage),
        }
    }

    async fn not_in(&self, key: &str, now: Moment) {
        self.known.lapse(key, self.clock.unix()).await;
        self.ends.forget(key);
        self.refused.note(key, Finding::No, now, self.times.refused_for);
    }

    /// Whether the portal's side has ended the session while it was vouched for.
    fn is_called_off(&self, key: &str, word: &Word, asked: Moment) -> bool {
        let by = |key: &str| self.ends.called_off.found_since(key, Finding::CalledOff, asked);
        by(key) || word.sid.as_ref().is_some_and(|sid| by(&self.known.key(sid)))
    }

    async fn take(&self, cookie: &str, key: &str, word: Word) {
        let (unix, now) = (self.clock.unix(), self.clock.now());
        let left = word.left.unwrap_or(self.times.session_lifetime.as_secs());
        let leaves = self.ends.leaving.find(key, now).is_some();
        let tells = self.caller.tells_of_ends();
        let vouched = Vouched {
            word,
            expires: unix.saturating_add(left),
            fresh_until: now.plus(self.times.cache_for),
            sealed: if tells { self.sessions.seal(key, cookie.as_bytes()) } else { None },
            leaves,
        };
        self.refused.forget(key);
        if let Err(why) = self.known.take(cookie, &vouched, unix).await {
            why.report(&self.portal);
            self.refused.note(key, Finding::Unclear, now, UNCLEAR_FOR);
        } else if leaves {
            self.ends.leaving.forget(key);
            self.tell_of_end(cookie.to_owned());
        }
    }

    /// What a stranger shows may be made to fail, so it counts for itself alone.
    fn failed(&self, key: &str, is_known: bool, (asked, now): (Moment, Moment), outage: &Outage) {
        let wish = match outage {
            Outage::Throttled { retry_after: Some(_) } => Some(outage.retry_after()),
            _ => None,
        };
        if is_known && !matches!(outage, Outage::Protocol(_)) {
            self.pause.failed(asked, now, wish);
        } else {
            self.refused.note(key, Finding::Unclear, now, wish.unwrap_or(UNCLEAR_FOR));
        }
        if self.pause.may_tell(now) {
            tracing::warn!(portal = self.portal, %outage, "the portal could not be asked whose a session is");
        }
    }

    fn tell_of_end(&self, cookie: String) {
        if !self.caller.tells_of_ends() {
            return;
        }
        let (caller, cookie) = (Arc::clone(&self.caller), Secret::from(cookie));
        let farewell: Try = Box::new(move || {
            let (caller, cookie) = (Arc::clone(&caller), cookie.clone());
            Box::pin(async move { caller.tell_of_end(&cookie).await })
        });
        self.errands.begin(&self.portal, "logout", farewell);
    }
}

/// The values that are worth a look.
fn looked_at<'a>(values: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    values.iter().copied().filter(|value| Caller::fits(value)).take(MOST_LOOKED_UP)
}

impl Verifier for Introspect {
    fn longest_answer(&self) -> Duration {
        self.0.caller.timeout()
    }

    fn cookie(&self) -> &str {
        &self.0.cookie
    }

    /// Each replica asks for itself. They share what they call a session, and which were signed out.
    fn keeps(&self) -> Keeps {
        Keeps::Answers
    }

    fn verify<'a>(&'a self, shown: &Shown<'a>, now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        let moment = self.0.clock.now();
        let mut sum = Sum::new();
        for cookie in looked_at(&shown.values) {
            let look = self.0.look(cookie, now, moment);
            match look {
                Look::Ask => return Verdict::Unasked,
                Look::In { refresh: true, .. } => self.0.refresh_behind(cookie, shown),
                _ => {}
            }
            sum.add(look);
        }
        match sum.into_session() {
            Ok((id, held)) => Verdict::Genuine(PortalSession::held(id, scratch.held.insert(held))),
            Err(nobody) => nobody.into(),
        }
    }

    fn ask<'a>(&'a self, shown: &Shown<'_>, _now: UnixSeconds) -> BoxFuture<'a, Verdict<'static>> {
        let along = self.0.caller.along(shown);
        let one = |cookie: &str| Arc::clone(&self.0).find_out(cookie.to_owned(), along.clone());
        let all: Vec<_> = looked_at(&shown.values).map(one).collect();
        Box::pin(async move {
            let mut sum = Sum::new();
            for look in join_all(all).await {
                sum.add(look);
            }
            match sum.into_session() {
                Ok((id, held)) => Verdict::Genuine(PortalSession::held_here(id, &held)),
                Err(nobody) => nobody.into(),
            }
        })
    }

    /// Of a session that is not known here, it is noted that it ends: the portal is not asked for everybody
    /// who makes up a cookie, only for those who come back with one.
    fn signed(&self, presented: &[&str]) -> Vec<SignedSession> {
        let mut signed = Vec::new();
        for cookie in looked_at(presented) {
            match self.0.known.find(cookie, 0) {
                Some((_, Record::In(id, held))) => {
                    let user = held.identity.user().to_owned();
                    signed.push(SignedSession { id, user, expires: held.expires });
                }
                Some((_, Record::SignedOut(_))) => {}
                None => {
                    let (key, lasts) = (self.0.known.key(cookie), self.0.times.session_lifetime);
                    self.0.ends.leaving.note(&key, Finding::Leaving, self.0.clock.now(), lasts);
                }
            }
        }
        signed
    }

    fn password(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        session.held_password().ok_or(NoPassword::Absent)
    }

    /// The portal's side may call a session by its own name or by the cookie.
    fn called<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
        Box::pin(async move {
            let (called, outage) = self.0.known.called(sid).await;
            Called { ids: called.into_iter().map(|(id, _)| id).collect(), outage }
        })
    }

    fn called_off<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
        Box::pin(async move {
            let now = self.0.clock.now();
            let note = |key: &str| self.0.ends.called_off.note(key, Finding::CalledOff, now, CALLED_OFF_FOR);
            let key = self.0.known.key(sid);
            note(&key);
            self.0.known.note_called_off(&self.0.errands, &key, self.0.clock.unix(), now).await;
            let (called, outage) = self.0.known.called(sid).await;
            called.iter().for_each(|(_, key)| note(key));
            Called { ids: called.into_iter().map(|(id, _)| id).collect(), outage }
        })
    }

    fn whose(&self, id: &str, now: UnixSeconds) -> Whose {
        match self.0.known.named(id, now) {
            Some(held) => Whose::Of(held.identity.clone()),
            None if self.0.sessions.is_shared() => Whose::Unknown,
            None => Whose::Nobody,
        }
    }

    /// The cookie stays refused while the portal vouches for it, and the portal is told, where it wants that
    /// and did not say so itself.
    fn end(&self, id: &str) -> Option<UnixSeconds> {
        let (key, ended) = self.0.known.sign_out(id)?;
        let by_portal = self.0.ends.called_off.find(&key, self.0.clock.now()).is_some();
        let cookie = ended.sealed.as_ref().filter(|_| !by_portal).and_then(|sealed| {
            let cookie = self.0.sessions.unseal(&key, sealed)?;
            String::from_utf8(cookie).ok()
        });
        if let Some(cookie) = cookie {
            self.0.tell_of_end(cookie);
        }
        Some(ended.expires)
    }
}
