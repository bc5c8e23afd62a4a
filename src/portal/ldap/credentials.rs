//! Is this the person's password? Asks the directory, as seldom as can be.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::directory::{Directory, Member};
use super::lockout::{Lockout, Place, Terms};
use crate::domain::{Clock, ExposeSecret, Moment, Outage, Secret};
use crate::portal::flights::Flights;
use crate::portal::{Mark, Sessions};
use crate::wire::Errands;

/// Questions to the directory at once.
const MOST_QUESTIONS: usize = 1024;
/// A no is given at a multiple of this time. The directory takes the same steps for a name that nobody has, but
/// nothing says that they take it equally long.
const NO_IS_GIVEN_EVERY: Duration = Duration::from_millis(500);
/// When to come back where the directory is asked too much already.
const BUSY: Duration = Duration::from_secs(5);
/// Longest password, in bytes.
const LONGEST_PASSWORD: usize = 1024;

/// What became of a name and a password.
#[derive(Clone)]
pub(super) enum Outcome {
    /// They belong to this person.
    Right(Vouched),
    /// They do not belong together.
    Wrong,
    /// There were too many, so nobody was asked.
    Wait(Duration),
    /// Nobody could say.
    Unreachable(Duration),
}

/// Somebody for whom the directory vouched.
#[derive(Clone)]
pub(super) struct Vouched {
    pub member: Arc<Member>,
    /// When it was asked: whatever changed since, it need not know.
    pub asked: Moment,
}

pub(super) struct Credentials {
    pub directory: Arc<Directory>,
    portal: String,
    marks: Arc<Sessions>,
    lockout: Arc<Lockout>,
    terms: Terms,
    flights: Flights<Mark, Outcome>,
    clock: Arc<dyn Clock>,
}

impl Credentials {
    pub(super) fn new(
        directory: Directory,
        portal: &str,
        terms: Terms,
        sessions: &Arc<Sessions>,
        errands: &Arc<Errands>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            directory: Arc::new(directory),
            portal: portal.to_owned(),
            marks: Arc::clone(sessions),
            lockout: sessions.keepsake(portal, || Lockout::new(portal, sessions)),
            terms,
            flights: Flights::new(Arc::clone(errands), MOST_QUESTIONS),
            clock: Arc::clone(clock),
        }
    }

    /// What a name and a password are known by, without either; `None` where nobody can have them.
    pub(super) fn mark(&self, name: &str, password: &Secret) -> Option<Mark> {
        let password = password.expose_secret();
        // An empty password would be an anonymous bind (RFC 4513, section 5.1.2), which always succeeds.
        let can_be = !password.is_empty() && password.len() <= LONGEST_PASSWORD && !password.contains('\0');
        let spelling = Directory::spelling(name).filter(|_| can_be)?;
        Some(self.marks.mark(&self.portal, &["credentials", &spelling, password]))
    }

    /// Asks the directory, once however many ask the same from the same place.
    pub(super) async fn check(&self, name: &str, password: Secret, place: Place) -> Outcome {
        let (begun, since) = (self.clock.now(), Instant::now());
        let (Some(guess), Some(spelling)) = (self.mark(name, &password), Directory::spelling(name)) else {
            settle(since).await;
            return Outcome::Wrong;
        };
        let device = place.device.as_deref().unwrap_or_default();
        let key = self.marks.mark(&self.portal, &["flight", &hex(guess), &place.network(), device]);
        let question = || {
            let (directory, lockout, clock) =
                (Arc::clone(&self.directory), Arc::clone(&self.lockout), Arc::clone(&self.clock));
            let (name, spelling, place, portal) =
                (name.to_owned(), spelling.clone(), place.clone(), self.portal.clone());
            let terms = self.terms.clone();
            async move {
                let tried = match lockout.admit(&terms, &spelling, guess, &place, begun).await {
                    Ok(tried) => tried,
                    Err(wait) => {
                        let (client, by) = (place.address, place.by);
                        tracing::info!(portal, %client, by, "too many wrong passwords; the next has to wait");
                        return Outcome::Wait(wait);
                    }
                };
                match directory.sign_in(&name, &password).await {
                    Ok(Some(member)) => {
                        let user = member.identity.user();
                        let user = Directory::spelling(user).unwrap_or_else(|| user.to_owned());
                        lockout.right(tried, &spelling, &user, &place, clock.now()).await;
                        Outcome::Right(Vouched { member: Arc::new(member), asked: begun })
                    }
                    Ok(None) => {
                        lockout.wrong(&tried, clock.now()).await;
                        // Not with the name: people do type their password there.
                        tracing::info!(portal, client = %place.address, by = place.by, "wrong name or password");
                        Outcome::Wrong
                    }
                    Err(outage) => {
                        lockout.unknown(&tried, clock.now()).await;
                        unreachable(&portal, &outage)
                    }
                }
            }
        };
        let outcome = self.flights.join(key, question).await.unwrap_or(Outcome::Unreachable(BUSY));
        if matches!(outcome, Outcome::Wrong) {
            settle(since).await;
        }
        outcome
    }
}

/// Waits for the next time at which a no is given, by a clock that is exact: a tick more or less would be told apart.
async fn settle(since: Instant) {
    let periods = since.elapsed().as_nanos() / NO_IS_GIVEN_EVERY.as_nanos() + 1;
    sleep_until(since + NO_IS_GIVEN_EVERY.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX))).await;
}

fn unreachable(portal: &str, outage: &Outage) -> Outcome {
    tracing::warn!(portal, %outage, "the directory could not say whose a password is");
    Outcome::Unreachable(outage.retry_after())
}

fn hex(mark: Mark) -> String {
    format!("{:032x}", u128::from_be_bytes(mark))
}
