//! What the mailbox server was asked for, held against what it should have been.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::fakes::axigen::{Event, Moment};
use crate::house::House;

/// How long what was got may take to the store, and so be lost with who got it; and how long the mailbox server may
/// take to open a session for whoever has been killed meanwhile.
const ON_THE_WAY: Duration = Duration::from_secs(3);

/// How many replicas may have the keys of one session.
const HOLDERS: usize = 3;

/// The sum at the end of a day.
pub struct Ledger {
    sessions: usize,
    logins: usize,
    /// Leases that ended before what was got under them was kept, as replicas have counted them.
    lost: f64,
    /// Logins that somebody had made who was killed before it was kept.
    killed: usize,
    /// The longest list of checks that one session had, against what it may have had.
    checks: usize,
    checked_too_often: Vec<String>,
    /// Sessions that are open for somebody who has another.
    left_open: usize,
}

impl Ledger {
    /// Of a house whose replicas were killed at these times, and whose sessions are refreshed this often. For so long
    /// they could not ask each other whose turn it is, and each kept alive what it had.
    pub async fn of(house: &House, kills: &[Instant], interval: Duration, alone: Duration) -> Self {
        let lost = house.leases_lost().await;
        let moments = house.mail.moments();
        let mut logins: BTreeMap<&str, Vec<Instant>> = BTreeMap::new();
        let mut sessions: BTreeMap<u64, Vec<&Moment>> = BTreeMap::new();
        for moment in &moments {
            sessions.entry(moment.session).or_default().push(moment);
            if moment.event == Event::Opened {
                logins.entry(&moment.login).or_default().push(moment.at);
            }
        }
        let apart = |one: Instant, other: Instant| one.max(other) - one.min(other);
        let was_killed = |at: &Instant| kills.iter().any(|kill| apart(*kill, *at) < ON_THE_WAY);
        let before_last = |times: &Vec<Instant>| times[..times.len() - 1].iter().filter(|at| was_killed(at)).count();
        let killed = logins.values().map(before_last).sum();
        let mut open: BTreeMap<&str, usize> = BTreeMap::new();
        let mut checked_too_often = Vec::new();
        let mut checks = 0;
        for of_session in sessions.values() {
            if of_session.iter().all(|moment| moment.event != Event::Ended) {
                *open.entry(&of_session[0].login).or_default() += 1;
            }
            let checked = of_session.iter().filter(|moment| moment.event == Event::Checked).count();
            let life = of_session[of_session.len() - 1].at - of_session[0].at;
            checks += checked;
            let at_most = |time: Duration| time.as_secs_f64() / interval.as_secs_f64() * 1.2 + 1.0;
            let others = if alone.is_zero() { 0.0 } else { 2.0 * at_most(alone) };
            if checked as f64 > at_most(life) + others {
                let who = &of_session[0].login;
                checked_too_often.push(format!("{who}: {checked} times in {life:?}"));
            }
        }
        Self {
            sessions: logins.len(),
            logins: logins.values().map(Vec::len).sum(),
            lost,
            killed,
            checks,
            checked_too_often,
            left_open: open.values().map(|count| count - 1).sum(),
        }
    }

    /// What is wrong, if anything is.
    pub fn complaint(&self) -> Option<String> {
        let explained = self.sessions + self.lost as usize + self.killed;
        if self.logins > explained {
            return Some(format!("{} logins, and {explained} are explained", self.logins));
        }
        // After the store was emptied, each that held the keys counts that others have replaced them.
        let least = self.sessions + (self.lost as usize).div_ceil(HOLDERS);
        if self.logins < least {
            return Some(format!("{} logins, and {least} at least have been counted", self.logins));
        }
        if !self.checked_too_often.is_empty() {
            let some = &self.checked_too_often[..self.checked_too_often.len().min(5)];
            return Some(format!("{} sessions were refreshed too often: {some:?}", self.checked_too_often.len()));
        }
        // Nobody can sign out at the application who was killed.
        if self.left_open > self.killed {
            return Some(format!("{} sessions are left open that nobody has keys of", self.left_open));
        }
        None
    }

    /// It adds up.
    pub fn balances(&self, when: &str) {
        eprintln!("{when}: {self}");
        let complaint = self.complaint();
        assert!(complaint.is_none(), "{when}: {}\n{self}", complaint.unwrap_or_default());
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, logins, lost, killed, checks, left_open, .. } = self;
        write!(
            formatter,
            "{logins} logins = {sessions} sessions + {lost} lost leases + {killed} killed; {checks} checks, {left_open} left open"
        )
    }
}
