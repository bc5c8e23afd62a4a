use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::holder::Holder;
use super::outcome::Obtained;
use super::shelf::{Ages, Holding, Record};
use super::shelving::Shelving;
use crate::backend::{BackendId, Binding, Guarded};
use crate::domain::{BackendLimits, Client, Moment, SessionKeys};
use crate::portal::PortalSession;

/// One back-end session of one portal session, from the moment somebody wants it.
///
/// The mutex guards a few words and is never held across an await.
pub(super) struct Entry {
    pub(super) backend: BackendId,
    holder: Holder,
    pub(super) state: Mutex<State>,
    /// The last decision, in milliseconds.
    used: AtomicU64,
    /// When the back-end last said that the session lives.
    confirmed: AtomicU64,
    opened: AtomicU64,
    /// When a renewal was last begun; 0 for never.
    renewed: AtomicU64,
    /// When the keys are to be replaced, because they open nothing a moment later; `u64::MAX` for never.
    replace: AtomicU64,
    /// A keep-alive in the background is under way.
    pub(super) refreshing: AtomicBool,
    /// Where in the ±10 % this entry's keep-alive lies.
    jitter: u16,
    /// What other replicas have of it.
    pub(super) shelving: Shelving,
}

/// How far a login, a check or a renewal has come.
#[derive(Default)]
pub(super) struct Progress {
    /// What came of it, at the end.
    pub obtained: Option<Obtained>,
    /// Keys that are being checked. Not knowing is no reason to take them away from whoever cannot wait longer.
    pub checked: Option<SessionKeys>,
    /// Until when the place in the queue is kept for somebody who was told to come back.
    pub kept_until: Option<Instant>,
    /// When somebody last left, whether they hung up or had an answer.
    pub left: Option<Instant>,
}

impl Progress {
    pub(super) const fn is_done(&self) -> bool {
        self.obtained.is_some()
    }
}

/// What an entry is doing.
pub(super) enum State {
    /// Just made; whoever made it begins a login at once.
    Vacant,
    /// A login, a check or a renewal is under way, and requests wait for it.
    Busy(Arc<watch::Sender<Progress>>),
    /// The session is open.
    Open(SessionKeys),
    /// It is no longer in the store, or about to be taken out by whoever sees this; what comes too
    /// late is thrown away.
    Ended,
}

impl Entry {
    pub(super) fn new(portal: &str, session: &str, wanted: &Wanted<'_>, now: Moment, jitter: u16) -> Self {
        Self::of(wanted.backend, Holder::new(portal, session, wanted), now, jitter)
    }

    /// One that another replica has opened.
    pub(super) fn of_record(backend: BackendId, record: &Record, now: Moment, jitter: u16) -> Self {
        Self::of(backend, Holder::of(&record.portal, &record.session, &record.holding), now, jitter)
    }

    fn of(backend: BackendId, holder: Holder, now: Moment, jitter: u16) -> Self {
        Self {
            backend,
            holder,
            state: Mutex::new(State::Vacant),
            used: AtomicU64::new(now.as_millis()),
            confirmed: AtomicU64::new(now.as_millis()),
            opened: AtomicU64::new(now.as_millis()),
            renewed: AtomicU64::new(0),
            replace: AtomicU64::new(u64::MAX),
            refreshing: AtomicBool::new(false),
            jitter,
            shelving: Shelving::default(),
        }
    }

    /// Whether this is the entry for these keys.
    pub(super) fn holds(&self, backend: BackendId, holding: &Holding) -> bool {
        self.backend == backend && self.holder.holds(holding)
    }

    /// Whose keys these are, as other replicas are told.
    pub(super) fn holding(&self) -> Holding {
        self.holder.holding()
    }

    /// The keys are as old as this.
    pub(super) fn date(&self, now: Moment, ages: &Ages) {
        for (field, age) in [(&self.opened, ages.opened), (&self.confirmed, ages.confirmed), (&self.used, ages.used)] {
            field.store(now.minus(age).as_millis(), Ordering::Relaxed);
        }
    }

    /// How old things are.
    pub(super) fn ages(&self, now: Moment) -> Ages {
        let confirmed = Moment::from_millis(self.confirmed.load(Ordering::Relaxed));
        Ages { opened: now.since(self.opened()), confirmed: now.since(confirmed), used: now.since(self.used()) }
    }

    /// What other replicas know of the same keys: whichever is later holds.
    pub(super) fn learn(&self, now: Moment, ages: &Ages) {
        for (field, age) in [(&self.confirmed, ages.confirmed), (&self.used, ages.used)] {
            field.fetch_max(now.minus(age).as_millis(), Ordering::Relaxed);
        }
    }

    /// When the session was opened.
    pub(super) fn opened(&self) -> Moment {
        Moment::from_millis(self.opened.load(Ordering::Relaxed))
    }

    /// Whether something is under way for which requests wait.
    pub(super) fn is_busy(&self) -> bool {
        matches!(&*self.state.lock(), State::Busy(_))
    }

    /// The portal and the session.
    pub(super) fn name(&self) -> (&str, &str) {
        self.holder.name()
    }

    /// Whether it is one of that portal and that session.
    pub(super) fn is_named(&self, name: (&str, &str)) -> bool {
        self.holder.is_named(name)
    }

    /// The name at the back-end.
    pub(super) fn login(&self) -> &str {
        self.holder.login()
    }

    /// Whether these keys are exactly what is wanted, of one and the same session.
    pub(super) fn is(&self, wanted: &Wanted<'_>) -> bool {
        self.backend == wanted.backend && self.holder.is(wanted)
    }

    /// Whose keys these are, by the portal's name for them.
    pub(super) fn user(&self) -> &str {
        self.holder.user()
    }

    pub(super) fn touch(&self, now: Moment) {
        self.used.store(now.as_millis(), Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> Moment {
        Moment::from_millis(self.used.load(Ordering::Relaxed))
    }

    /// The back-end could not be asked: the keys are used until it can, and it is not asked at every
    /// request meanwhile.
    pub(super) fn excuse(&self, now: Moment, limits: &BackendLimits) {
        let pause = limits.failure_backoff.min(limits.keep_alive_interval);
        let interval = limits.keep_alive_interval.saturating_sub(pause);
        let confirmed = now.as_millis().saturating_sub(Moment::default().plus(interval).as_millis());
        self.confirmed.store(confirmed, Ordering::Relaxed);
    }

    pub(super) fn confirm(&self, now: Moment) {
        self.confirmed.store(now.as_millis(), Ordering::Relaxed);
    }

    /// The session was opened; the login counts as its first use and its first refresh.
    pub(super) fn open(&self, now: Moment) {
        self.opened.store(now.as_millis(), Ordering::Relaxed);
        self.touch(now);
        self.confirm(now);
    }

    /// Whether a renewal may begin: at most one per interval, so that a broken back-end is not stormed.
    pub(super) fn may_renew(&self, now: Moment, interval: Duration) -> bool {
        let last = self.renewed.load(Ordering::Relaxed);
        last == 0 || now.since(Moment::from_millis(last)) >= interval
    }

    pub(super) fn begin_renewal(&self, now: Moment) {
        // Zero means never, and the first millisecond of a process is no time for a renewal.
        self.renewed.store(now.as_millis().max(1), Ordering::Relaxed);
    }

    /// The keys end by themselves so long from now, or never.
    pub(super) fn end_in(&self, now: Moment, left: Option<Duration>) {
        let replace = left.map_or(u64::MAX, |left| {
            now.plus(left.saturating_sub(BEFORE_THE_END).max(BETWEEN_REPLACEMENTS)).as_millis()
        });
        self.replace.store(replace, Ordering::Relaxed);
    }

    /// Whether the keys are about to end, so that others must be got.
    pub(super) fn is_ending(&self, now: Moment) -> bool {
        now.as_millis() >= self.replace.load(Ordering::Relaxed)
    }

    /// Whether somebody asked for these keys since the back-end last confirmed them.
    pub(super) fn is_in_use(&self) -> bool {
        self.used() > Moment::from_millis(self.confirmed.load(Ordering::Relaxed))
    }

    /// Whether the keys are to be checked before they are used. Not while checks fail anyhow: then
    /// everybody would wait for nothing, and the keep-alives in the background find out when it is over.
    pub(super) fn wants_check(&self, now: Moment, backend: &Guarded) -> bool {
        self.is_overdue(now, backend.limits()) && !backend.checks_fail()
    }

    /// Whether the keys are overdue: nobody has confirmed them for longer
    /// than the interval, and no keep-alive is due to do so by itself in a moment.
    fn is_overdue(&self, now: Moment, limits: &BackendLimits) -> bool {
        let unconfirmed = now.since(Moment::from_millis(self.confirmed.load(Ordering::Relaxed)));
        // The first comparison decides nearly always.
        unconfirmed > limits.keep_alive_interval
            && !(self.is_in_use() && unconfirmed <= limits.keep_alive_interval.mul_f64(1.1) + PATIENCE)
    }

    /// When the keep-alive is due, ±10 % of the interval after the last confirmation.
    pub(super) fn refresh_due(&self, limits: &BackendLimits) -> Moment {
        let factor = 0.9 + 0.2 * f64::from(self.jitter) / f64::from(u16::MAX);
        Moment::from_millis(self.confirmed.load(Ordering::Relaxed)).plus(limits.keep_alive_interval.mul_f64(factor))
    }

    /// When it is idle, and when too old.
    fn ends(&self, limits: &BackendLimits) -> (Moment, Moment) {
        (self.used().plus(limits.idle_timeout), self.opened().plus(limits.max_age))
    }

    /// When it ends if nobody uses it.
    pub(super) fn end(&self, limits: &BackendLimits) -> Moment {
        let (idle_end, age_end) = self.ends(limits);
        idle_end.min(age_end)
    }

    /// What time asks for now.
    pub(super) fn due(&self, now: Moment, limits: &BackendLimits) -> Due {
        let (idle_end, age_end) = self.ends(limits);
        if now >= age_end {
            return Due::Aged;
        }
        if now >= idle_end {
            return Due::Idle;
        }
        let end = idle_end.min(age_end);
        let refresh = self.refresh_due(limits);
        if now < refresh {
            return Due::Later(refresh.min(end));
        }
        // Whatever comes of it, half an interval is soon enough to look again: at one whose refresh
        // failed, and at one that nobody used, which is left to expire unless somebody comes back and
        // has it checked.
        let next_look = end.min(now.plus(limits.keep_alive_interval / 2));
        if self.is_in_use() { Due::Refresh { next_look } } else { Due::Later(next_look) }
    }
}

/// So long before their end keys are replaced, and what the portal has then must be newer: it renews earlier.
const BEFORE_THE_END: Duration = Duration::from_secs(10);
/// Least time between two replacements, should the portal have nothing newer.
const BETWEEN_REPLACEMENTS: Duration = Duration::from_secs(5);

/// The wheel turns once a second, and a keep-alive needs a moment.
const PATIENCE: Duration = Duration::from_secs(3);

/// What time asks of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Later(Moment),
    Refresh { next_look: Moment },
    Idle,
    Aged,
}

/// Which keys somebody wants, all borrowed.
pub(super) struct Wanted<'a> {
    backend: BackendId,
    pub(super) binding: Binding,
    pub(super) user: &'a str,
    pub(super) login: &'a str,
    /// Needed only where the back-end ties sessions to the browser.
    pub(super) client: Option<&'a Client<'a>>,
    /// When a new entry wants to be looked at first.
    pub(super) first_look: Duration,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(
        session: &'a PortalSession<'_>,
        backend: &Guarded,
        login: &'a str,
        client: Option<&'a Client<'a>>,
    ) -> Self {
        Self {
            backend: backend.id(),
            binding: backend.binding(),
            user: session.identity().user(),
            login,
            client,
            first_look: backend.limits().keep_alive_interval / 2,
        }
    }
}
