use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Wall-clock time, whole seconds since 1970. Tickets speak it.
pub type UnixSeconds = u64;

/// A point on the process's own time line, in milliseconds.
///
/// Everything that Keyward itself times (idle, age, back-off) uses this and not the wall clock, so
/// that a wall clock that is set back or forward neither ends sessions nor revives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The far end of the time line.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment that lies this many milliseconds behind the start of the time line.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the start of the time line.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved into the past; the start of the time line where it would lie before.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This moment moved into the future; the far end of the time line where it would overflow.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Where time comes from. Passed in everywhere, so that tests can move it.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time.
    fn unix(&self) -> UnixSeconds;
    /// The process's own, never jumping time line.
    fn now(&self) -> Moment;
}

/// The operating system's clocks.
///
/// They are read as the system last wrote them down, some milliseconds ago at most: that takes a fifth of the time, and
/// every decision asks several times.
#[derive(Debug)]
pub struct SystemClock {
    start: Duration,
}

impl SystemClock {
    /// A clock whose own time line starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Self::read(ClockId::MonotonicCoarse) }
    }

    /// Wall-clock time for whoever has no [`Clock`] and judges nothing by it, such as a header that people read.
    #[must_use]
    pub fn wall() -> UnixSeconds {
        Self::read(ClockId::RealtimeCoarse).as_secs()
    }

    fn read(clock: ClockId) -> Duration {
        clock_gettime(clock).try_into().unwrap_or_default()
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn unix(&self) -> UnixSeconds {
        Self::wall()
    }

    fn now(&self) -> Moment {
        let passed = Self::read(ClockId::MonotonicCoarse).saturating_sub(self.start);
        Moment(HEAD_START.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Where the time line of a process begins, in milliseconds: far from its zero, so that what other replicas began
/// before this process did has a moment, too. Ten years.
const HEAD_START: u64 = 10 * 365 * 24 * 3600 * 1000;

/// A clock that stands still until it is told to move. For tests.
#[derive(Debug)]
pub struct ManualClock {
    unix: AtomicU64,
    now: AtomicU64,
}

impl ManualClock {
    /// A clock that shows this wall-clock time.
    #[must_use]
    pub const fn at(unix: UnixSeconds) -> Self {
        Self { unix: AtomicU64::new(unix), now: AtomicU64::new(0) }
    }

    /// Lets time pass on both time lines.
    pub fn advance(&self, duration: Duration) {
        self.now.fetch_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        self.unix.fetch_add(duration.as_secs(), Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an administrator or a bad time server would.
    pub fn set_unix(&self, unix: UnixSeconds) {
        self.unix.store(unix, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix(&self) -> UnixSeconds {
        self.unix.load(Ordering::SeqCst)
    }

    fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::SeqCst))
    }
}
