//! Names and passwords in the `Authorization` header (RFC 7617), for clients that keep no cookies.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;

use super::bounded::Bounded;
use super::credentials::{Credentials, Outcome};
use super::lockout::Place;
use super::sessions::People;
use crate::domain::{Clock, Moment, Secret, UnixSeconds};
use crate::portal::flights::Flights;
use crate::portal::{HeldSession, Mark};

/// Longest header that is looked at, in bytes.
const LONGEST: usize = 4096;
/// Most passwords that were right, and most that were wrong, that are remembered.
const MOST: usize = 100_000;
/// Questions at once.
const MOST_QUESTIONS: usize = 4096;

/// Reads a name and a password; `None` for everything else. The name ends at the first colon.
pub(super) fn read(header: &str) -> Option<(String, Secret)> {
    if header.len() > LONGEST {
        return None;
    }
    let (scheme, token) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(token.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), Secret::from(password)))
}

/// When to come back where there is no room for a session, or nobody can be asked.
const COME_BACK: Duration = Duration::from_secs(5);

/// What is known of who sends a header.
#[derive(Clone)]
pub(super) enum Answer {
    /// The session of this id.
    Session(String),
    Nobody,
    Unreachable(Duration),
}

/// Who sends such headers.
pub(super) struct Basic {
    credentials: Arc<Credentials>,
    people: Arc<People>,
    verdicts: Arc<Verdicts>,
    flights: Flights<(Mark, IpAddr), Answer>,
    /// `cache_for`, and `refused_for`.
    lasts: (Duration, Duration),
}

impl Basic {
    pub(super) fn new(credentials: &Arc<Credentials>, people: &Arc<People>, lasts: (Duration, Duration)) -> Self {
        Self {
            credentials: Arc::clone(credentials),
            people: Arc::clone(people),
            verdicts: Arc::new(Verdicts::new(&people.clock)),
            flights: Flights::new(Arc::clone(&people.errands), MOST_QUESTIONS),
            lasts,
        }
    }

    /// Who it is, as far as is known already. `Err` says whether somebody must be asked.
    pub(super) fn find(&self, header: &str, now: UnixSeconds) -> Result<(String, Arc<HeldSession>), bool> {
        let (name, password) = read(header).ok_or(false)?;
        let mark = self.credentials.mark(&name, &password).ok_or(false)?;
        match self.verdicts.known(&mark) {
            Some(Known::Wrong) => Err(false),
            Some(Known::Right(id)) => {
                let held = self.people.kept.of_id(&id, now).ok_or(true)?;
                Ok((id, held))
            }
            None => Err(true),
        }
    }

    /// Somebody has this password now, whatever was said of it before.
    pub(super) fn may_be_right_now(&self, name: &str, password: &Secret) {
        if let Some(mark) = self.credentials.mark(name, password) {
            self.verdicts.forget_wrong(&mark);
        }
    }

    /// Who it is. The directory is asked once, however many want to know the same.
    pub(super) async fn ask(&self, name: String, password: Secret, address: IpAddr) -> Answer {
        let Some(mark) = self.credentials.mark(&name, &password) else { return Answer::Nobody };
        let question = || {
            // Somebody may have landed with the answer since it was looked for.
            let known = self.verdicts.known(&mark);
            let (credentials, people) = (Arc::clone(&self.credentials), Arc::clone(&self.people));
            let (verdicts, lasts) = (Arc::clone(&self.verdicts), self.lasts);
            async move {
                match known {
                    Some(Known::Wrong) => return Answer::Nobody,
                    Some(Known::Right(id)) => {
                        // Another replica may have changed it since.
                        let _ = people.kept.bring(&people.portal, std::slice::from_ref(&id)).await;
                        if people.kept.of_id(&id, people.clock.unix()).is_some() {
                            return Answer::Session(id);
                        }
                    }
                    None => {}
                }
                let place = Place { address, by: "basic", device_of: None, device: None };
                let outcome = credentials.check(&name, password.clone(), place).await;
                settle(&outcome, &people, &verdicts, (&name, &password, mark), lasts).await
            }
        };
        self.flights.join((mark, address), question).await.unwrap_or(Answer::Unreachable(COME_BACK))
    }
}

/// Remembers what became of a question, and opens the session.
async fn settle(
    outcome: &Outcome,
    people: &People,
    verdicts: &Verdicts,
    (name, password, mark): (&str, &Secret, Mark),
    (cache_for, refused_for): (Duration, Duration),
) -> Answer {
    match outcome {
        Outcome::Right(vouched) => match people.open_without_cookie(vouched, name, password).await {
            Some(id) => {
                verdicts.right(mark, id.clone(), cache_for);
                Answer::Session(id)
            }
            None => Answer::Unreachable(COME_BACK),
        },
        Outcome::Wrong => {
            if let Some(id) = verdicts.wrong(mark, refused_for) {
                // It was right a moment ago, so the person has another password, or is gone.
                people.kept.lapse(&id, people.clock.unix());
            }
            Answer::Nobody
        }
        Outcome::Wait(retry_after) | Outcome::Unreachable(retry_after) => Answer::Unreachable(*retry_after),
    }
}

/// What is still known of passwords that were asked about, by their marks alone.
struct Verdicts {
    right: Mutex<Bounded<(Moment, String)>>,
    /// In a memory of their own, so that guesses push out nobody who is in.
    wrong: Mutex<Bounded<Moment>>,
    clock: Arc<dyn Clock>,
}

/// What is known of one.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// It was right, and this is the id of the session that was opened for it.
    Right(String),
    Wrong,
}

impl Verdicts {
    fn new(clock: &Arc<dyn Clock>) -> Self {
        let (right, wrong) = (Mutex::new(Bounded::new(MOST)), Mutex::new(Bounded::new(MOST)));
        Self { right, wrong, clock: Arc::clone(clock) }
    }

    fn known(&self, mark: &Mark) -> Option<Known> {
        let now = self.clock.now();
        let right = self.right.lock().get(mark).filter(|(until, _)| now < *until).map(|(_, id)| id.clone());
        if let Some(id) = right {
            return Some(Known::Right(id));
        }
        self.wrong.lock().get(mark).filter(|until| now < **until).map(|_| Known::Wrong)
    }

    fn right(&self, mark: Mark, id: String, lasts: Duration) {
        let now = self.clock.now();
        self.wrong.lock().remove(&mark);
        self.right.lock().put(mark, now, (now.plus(lasts), id));
    }

    pub(super) fn forget_wrong(&self, mark: &Mark) {
        self.wrong.lock().remove(mark);
    }

    /// Gives back the session that was opened when it was still right.
    fn wrong(&self, mark: Mark, lasts: Duration) -> Option<String> {
        let now = self.clock.now();
        self.wrong.lock().put(mark, now, now.plus(lasts));
        self.right.lock().remove(&mark).map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ExposeSecret, ManualClock};

    #[test]
    fn names_and_passwords_are_read_as_they_were_typed() {
        for (text, expected) in [
            ("alice:secret", Some(("alice", "secret"))),
            ("alice:a:b:c", Some(("alice", "a:b:c"))),
            ("zoë:pässwörd €", Some(("zoë", "pässwörd €"))),
            ("alice: leading", Some(("alice", " leading"))),
            ("alice:", Some(("alice", ""))),
            (":secret", Some(("", "secret"))),
            ("alice", None),
            ("", None),
        ] {
            let header = format!("Basic {}", STANDARD.encode(text));
            let found = read(&header);
            let found = found.as_ref().map(|(name, password)| (name.as_str(), password.expose_secret()));
            assert_eq!(found, expected, "{text}");
        }
        for header in [
            "Basic".to_owned(),
            "Basic ".to_owned(),
            "Basic !!!".to_owned(),
            "Basic YWxpY2U6c2VjcmV0=".to_owned(),
            "Basic YWxpY2U6c2VjcmV".to_owned(),
            format!("Basic {}", STANDARD.encode(b"alice:\xff")),
            format!("Bearer {}", STANDARD.encode("alice:secret")),
            format!("Basic {}", STANDARD.encode(format!("alice:{}", "x".repeat(5000)))),
        ] {
            assert!(read(&header).is_none(), "{header}");
        }
        assert!(read("bAsIc YWxpY2U6c2VjcmV0").is_some());
    }

    #[test]
    fn what_is_known_of_a_password_ends_in_time_whatever_the_wall_clock_does() {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let shared: Arc<dyn Clock> = clock.clone();
        let verdicts = Verdicts::new(&shared);
        let minute = Duration::from_secs(60);
        verdicts.right([1; 16], "id".to_owned(), minute);
        verdicts.wrong([2; 16], minute);
        clock.set_unix(5_000_000);
        assert_eq!(verdicts.known(&[1; 16]), Some(Known::Right("id".to_owned())));
        clock.set_unix(1);
        assert_eq!(verdicts.known(&[2; 16]), Some(Known::Wrong));
        clock.advance(minute);
        assert_eq!((verdicts.known(&[1; 16]), verdicts.known(&[2; 16])), (None, None));
        verdicts.right([2; 16], "id".to_owned(), minute);
        assert_eq!(verdicts.known(&[2; 16]), Some(Known::Right("id".to_owned())), "it was changed to this one");
        assert_eq!(verdicts.wrong([2; 16], minute).as_deref(), Some("id"));
        assert_eq!(verdicts.known(&[2; 16]), Some(Known::Wrong));
    }
}
