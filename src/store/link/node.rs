//! One server, kept in touch with: whoever asks finds a connection, or hears at once that there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::sentinels::Sentinels;
use super::terms::Address;
use super::trouble::{Trouble, is_of_login, is_of_server};
use super::way::Way;
use super::wire::Wire;
use crate::store::StoreOutage;

/// Time between two looks whether a server that nobody complains of still answers.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first pause after a failure, and where it stops doubling.
pub(super) const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];
/// Longest time that making a connection takes. Nobody waits for it so long.
const DIAL_WITHIN: Duration = Duration::from_secs(5);
/// A connection that lived shorter counts as a failure.
const SHORT_LIFE: u64 = 1000;

/// A server, with whoever keeps in touch with it.
pub(super) struct Node {
    kept: Arc<Kept>,
    keeper: AbortHandle,
}

/// Who is meant.
pub(super) enum Target {
    Server(Address),
    /// Whoever is the primary.
    Primary(Sentinels),
}

/// Called with nothing when the server is there, else with why it is not.
pub(super) type Changed = Box<dyn Fn(Option<&StoreOutage>) + Send + Sync>;

struct Kept {
    way: Arc<Way>,
    target: Target,
    state: watch::Sender<State>,
    /// Somebody has a reason to look now.
    look: Notify,
    /// The connection does for reading, and may be the wrong one for writing.
    renew: AtomicBool,
    changed: Changed,
}

#[derive(Clone)]
enum State {
    /// Nothing is known yet, or a moment ago all was well. Whoever asks waits.
    Connecting,
    Up(Arc<Wire>),
    /// Whoever asks is told so at once.
    Down,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Node {
    /// Needs a runtime in which the server is kept in touch with.
    pub fn new(way: &Arc<Way>, target: Target, changed: Changed) -> Self {
        let kept = Arc::new(Kept {
            way: Arc::clone(way),
            target,
            state: watch::Sender::new(State::Connecting),
            look: Notify::new(),
            renew: AtomicBool::new(false),
            changed,
        });
        let keeper = tokio::spawn(Arc::clone(&kept).keep()).abort_handle();
        Self { kept, keeper }
    }

    /// Asks the server.
    pub async fn ask(&self, command: &Cmd, asking: bool, until: Instant) -> Result<Value, Trouble> {
        let wire = self.wire(until).await?;
        let started = Instant::now();
        let Ok(answer) = timeout_at(until, wire.ask(command, asking)).await else {
            // Others are answered, or there was hardly any time left: that is slow, and not silent.
            let had_time = until.duration_since(started) >= self.kept.way.access().timeout / 2;
            if had_time && !wire.has_answered_since(started) {
                self.kept.suspect(&wire, &StoreOutage::TimedOut);
            }
            return Err(StoreOutage::TimedOut.into());
        };
        if let Err(Trouble::Outage(outage)) = &answer {
            self.kept.consider(&wire, outage);
        }
        answer
    }

    /// The connection, as soon as there is one.
    pub async fn wire(&self, until: Instant) -> Result<Arc<Wire>, StoreOutage> {
        let mut states = self.kept.state.subscribe();
        let known = states.wait_for(|state| !matches!(state, State::Connecting));
        match timeout_at(until, known).await {
            Ok(Ok(state)) => match &*state {
                State::Up(wire) => Ok(Arc::clone(wire)),
                State::Connecting | State::Down => Err(StoreOutage::Down),
            },
            // The keeper is gone, and we are about to be.
            Ok(Err(_)) => Err(StoreOutage::Down),
            Err(_) => Err(StoreOutage::TimedOut),
        }
    }

    /// The connection, as soon as there is one, however long that takes.
    pub async fn connected(&self, until: Instant) -> Result<Arc<Wire>, StoreOutage> {
        let mut states = self.kept.state.subscribe();
        match timeout_at(until, states.wait_for(|state| matches!(state, State::Up(_)))).await {
            Ok(Ok(state)) => match &*state {
                State::Up(wire) => Ok(Arc::clone(wire)),
                State::Connecting | State::Down => Err(StoreOutage::Down),
            },
            Ok(Err(_)) | Err(_) => Err(StoreOutage::Down),
        }
    }

    /// Whether nothing is known of it yet.
    pub fn is_connecting(&self) -> bool {
        matches!(&*self.kept.state.borrow(), State::Connecting)
    }

    /// The connection, if there is one now.
    pub fn wire_now(&self) -> Option<Arc<Wire>> {
        match &*self.kept.state.borrow() {
            State::Up(wire) => Some(Arc::clone(wire)),
            State::Connecting | State::Down => None,
        }
    }

    /// Waits until there is another connection than this one, or none.
    pub async fn left(&self, wire: &Arc<Wire>) {
        let mut states = self.kept.state.subscribe();
        let is_other = |state: &State| !matches!(state, State::Up(current) if Arc::ptr_eq(current, wire));
        let _ = states.wait_for(is_other).await;
    }

    /// Has it look at once whether all is well, because somebody found that it is not.
    pub fn look(&self) {
        self.kept.look.notify_one();
    }

    /// Has it make a new connection, because the settings have changed.
    pub fn renew(&self) {
        self.kept.renew.store(true, Ordering::Relaxed);
        self.kept.look.notify_one();
    }
}

impl Kept {
    /// Keeps in touch, for ever.
    async fn keep(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            match self.first_dial(failures == 0).await {
                Ok(wire) => {
                    let born = Instant::now();
                    self.up(&wire);
                    self.watch(wire).await;
                    if born.elapsed() < Duration::from_millis(SHORT_LIFE) {
                        failures += 1;
                        self.down(&StoreOutage::Unreachable("the connection broke at once".to_owned()));
                    } else {
                        failures = 0;
                    }
                }
                Err(outage) => {
                    self.down(&outage);
                    failures += 1;
                }
            }
            if failures > 0 {
                // New settings may help.
                let _ = timeout(pause(failures), self.look.notified()).await;
            }
        }
    }

    /// Makes a connection. Those who wait for it are told that there is none as soon as they have waited long.
    async fn first_dial(&self, is_awaited: bool) -> Result<Arc<Wire>, StoreOutage> {
        let mut dialling = std::pin::pin!(self.dial());
        if is_awaited {
            match timeout(self.way.access().timeout, &mut dialling).await {
                Ok(dialled) => return dialled,
                Err(_) => self.down(&StoreOutage::TimedOut),
            }
        }
        dialling.await
    }

    async fn dial(&self) -> Result<Arc<Wire>, StoreOutage> {
        let dialling = async {
            match &self.target {
                Target::Server(address) => self.way.dial(address).await,
                Target::Primary(sentinels) => sentinels.dial(&self.way).await,
            }
        };
        let dialled = timeout(DIAL_WITHIN, dialling).await.unwrap_or(Err(StoreOutage::TimedOut));
        if let Err(outage) = &dialled
            && is_of_login(outage)
        {
            self.way.tell_refused(outage);
        }
        dialled
    }

    /// Looks after a connection until it is of no use any more.
    async fn watch(&self, mut wire: Arc<Wire>) {
        loop {
            tokio::select! {
                () = wire.ended() => return self.connecting(&wire),
                () = self.look.notified() => {}
                () = sleep(LOOK_EVERY.mul_f64(rand::random_range(0.8..1.2))) => {}
            }
            match timeout(self.way.access().timeout, wire.ping()).await {
                Ok(Ok(())) => self.up(&wire),
                Ok(Err(StoreOutage::Unreachable(_))) => return self.connecting(&wire),
                Ok(Err(outage)) => return self.down(&outage),
                Err(_) => return self.down(&StoreOutage::TimedOut),
            }
            tokio::select! {
                () = wire.ended() => return self.connecting(&wire),
                other = self.another(&wire) => if let Some(other) = other {
                    self.up(&other);
                    wire = other;
                },
            }
        }
    }

    /// A new connection, if one is wanted although this one works, and can be made.
    async fn another(&self, wire: &Wire) -> Option<Arc<Wire>> {
        let is_told = self.renew.swap(false, Ordering::Relaxed);
        if !is_told && !self.is_outdated(wire).await {
            return None;
        }
        let other = self.dial().await.ok();
        if other.is_none() && is_told {
            // Whatever this one still does, it was made with settings that do not hold any more.
            self.renew.store(true, Ordering::Relaxed);
        }
        other
    }

    /// Whether this connection is to another server, or as somebody else, than it would be made now.
    async fn is_outdated(&self, wire: &Wire) -> bool {
        let access = self.way.access();
        let is_elsewhere = match &self.target {
            Target::Server(_) => false,
            Target::Primary(sentinels) => sentinels.find(&self.way).await.is_ok_and(|address| address != wire.address),
        };
        is_elsewhere || access.login.has_changed_from(wire.password.as_ref())
    }

    /// Draws the conclusions from an answer that is none.
    fn consider(&self, wire: &Arc<Wire>, outage: &StoreOutage) {
        match outage {
            StoreOutage::Unreachable(_) => {
                self.connecting(wire);
                self.look.notify_one();
            }
            StoreOutage::Unable(word) if is_of_server(word) => self.suspect(wire, outage),
            // It was the primary, or the name that we know leads to another server by now.
            StoreOutage::Unable(word) if word == "READONLY" => {
                self.renew.store(true, Ordering::Relaxed);
                if wire.age() > SHORT_LIFE {
                    self.look.notify_one();
                }
            }
            StoreOutage::Unable(_) | StoreOutage::TimedOut | StoreOutage::Down => {}
        }
    }

    /// Asks no more on this connection until somebody has looked.
    fn suspect(&self, wire: &Arc<Wire>, outage: &StoreOutage) {
        if self.leave(wire, State::Down) {
            (self.changed)(Some(outage));
            self.look.notify_one();
        }
    }

    fn up(&self, wire: &Arc<Wire>) {
        let mut is_new = false;
        let came = self.state.send_if_modified(|state| {
            let is_up = matches!(state, State::Up(current) if Arc::ptr_eq(current, wire));
            is_new = !is_up;
            if is_new {
                *state = State::Up(Arc::clone(wire));
            }
            is_new
        });
        if came {
            self.way.made();
            (self.changed)(None);
        }
    }

    fn connecting(&self, wire: &Arc<Wire>) {
        self.leave(wire, State::Connecting);
    }

    fn down(&self, outage: &StoreOutage) {
        self.state.send_replace(State::Down);
        (self.changed)(Some(outage));
    }

    fn leave(&self, wire: &Arc<Wire>, to: State) -> bool {
        self.state.send_if_modified(|state| {
            let is_current = matches!(state, State::Up(current) if Arc::ptr_eq(current, wire));
            if is_current {
                *state = to;
            }
            is_current
        })
    }
}

/// How long to leave a server alone that failed so often, different for everybody.
pub(super) fn pause(failures: u32) -> Duration {
    let [first, longest] = PAUSES;
    let pause = first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(longest);
    pause.mul_f64(rand::random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let [first, longest] = PAUSES;
        assert!((first / 2..first).contains(&pause(1)));
        assert!((first..first * 2).contains(&pause(2)));
        for failures in [6, 100, u32::MAX] {
            assert!((longest / 2..longest).contains(&pause(failures)), "{failures}");
        }
    }
}
