mod shared;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use url::Url;

use crate::domain::{Clock, Moment, Secret, SessionHandle};
use crate::store::{Store, StoreOutage};

/// How long a token works, and the state of a browser that waits for one.
pub const LIFETIME: Duration = Duration::from_secs(60);
/// Most tokens that wait at once.
const MOST: usize = 4096;
/// Most that wait for one session: somebody with several windows, and no more.
const MOST_PER_SESSION: usize = 8;

/// A random text of 256 bits, and what may be known of it.
pub struct Nonce {
    /// The text itself.
    pub text: String,
    /// What it is known by elsewhere.
    pub mark: String,
}

impl Nonce {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let mark = mark_of(&text);
        Self { text, mark }
    }
}

/// What a text is known by to those who must not know it.
#[must_use]
pub fn mark_of(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

/// Whether this could be the mark of something.
#[must_use]
pub fn is_mark(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|digest| digest.len() == 32)
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotMinted {
    /// Too many wait.
    TooMany,
    /// Replicas share their tokens, and the store could not be asked.
    Unavailable(StoreOutage),
}

/// What a token stands for.
pub struct Passage {
    /// Whose.
    pub session: SessionHandle,
    /// The portal's cookie that said so.
    pub cookie: Secret,
    /// The back-end it leads to.
    pub backend: String,
    /// The origin at which it can be redeemed.
    pub destination: String,
    /// The mark of the one browser's state.
    pub state: String,
    /// Where that browser wants to go, if not into the application.
    pub return_to: Option<Url>,
}

/// The tokens that travel between domains: each works once, within a minute.
///
/// They are known by their marks alone. All live equally long, so they stand in the order of their
/// ends, and there are so few that looking through all of them costs nothing. Where replicas share a store they
/// wait there, bounded by session; here wait only those that were minted while it could not be asked, and nobody
/// else can redeem them.
pub struct Tokens {
    clock: Arc<dyn Clock>,
    waiting: Mutex<VecDeque<Waiting>>,
    store: OnceLock<Arc<Store>>,
}

struct Waiting {
    mark: String,
    end: Moment,
    passage: Passage,
}

impl Tokens {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, waiting: Mutex::default(), store: OnceLock::new() })
    }

    /// Shares them with other replicas, from before the first request.
    pub fn share(&self, store: &Arc<Store>) {
        // A second call changes nothing.
        let _ = self.store.set(Arc::clone(store));
    }

    /// A new token. One session's oldest makes room for its newest.
    ///
    /// # Errors
    /// `NotMinted`: too many wait, or the store cannot be asked.
    pub async fn mint(&self, passage: Passage) -> Result<String, NotMinted> {
        if let Some(store) = self.store.get() {
            match shared::Token::mint(store, &passage).await {
                Ok(token) => return Ok(token),
                // It is another token, should the store have kept that one after all.
                Err(_) if store.goes_on_without() => {}
                Err(outage) => return Err(NotMinted::Unavailable(outage)),
            }
        }
        self.mint_here(passage).ok_or(NotMinted::TooMany)
    }

    fn mint_here(&self, passage: Passage) -> Option<String> {
        let Nonce { text, mark } = Nonce::new();
        let now = self.clock.now();
        let mut waiting = self.waiting.lock();
        while waiting.front().is_some_and(|oldest| oldest.end <= now) {
            waiting.pop_front();
        }
        let of_session = |waiting: &Waiting| waiting.passage.session == passage.session;
        if waiting.iter().filter(|one| of_session(one)).count() >= MOST_PER_SESSION
            && let Some(oldest) = waiting.iter().position(of_session)
        {
            waiting.remove(oldest);
        }
        if waiting.len() >= MOST {
            return None;
        }
        waiting.push_back(Waiting { mark, end: now.plus(LIFETIME), passage });
        Some(text)
    }

    /// What the token stands for, once. Whoever comes second, or too late, finds nothing; and a token that
    /// was shown at the wrong place is gone as well.
    ///
    /// # Errors
    /// The store could not be asked: the token may be good still, or be gone.
    pub async fn redeem(&self, token: &str) -> Result<Option<Passage>, StoreOutage> {
        match (self.store.get(), shared::Token::read(token)) {
            (Some(store), Some(token)) => token.redeem(store).await,
            _ => Ok(self.redeem_here(token)),
        }
    }

    fn redeem_here(&self, token: &str) -> Option<Passage> {
        let mark = mark_of(token);
        let found = {
            let mut waiting = self.waiting.lock();
            let index = waiting.iter().position(|one| one.mark == mark)?;
            waiting.remove(index)?
        };
        (self.clock.now() < found.end).then_some(found.passage)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use super::*;
    use crate::domain::ManualClock;

    fn tokens() -> (Arc<Tokens>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(1_000_000));
        (Tokens::new(clock.clone()), clock)
    }

    fn passage(session: &str) -> Passage {
        Passage {
            session: SessionHandle { portal: "portal".to_owned(), id: session.to_owned() },
            cookie: Secret::from("ticket"),
            backend: "mail".to_owned(),
            destination: "https://mail.test".to_owned(),
            state: mark_of("state"),
            return_to: None,
        }
    }

    #[test]
    fn a_token_works_once_and_only_within_its_minute() {
        let (tokens, clock) = tokens();
        let [first, second, third] = [(); 3].map(|()| tokens.mint_here(passage("ana")).unwrap());
        clock.advance(LIFETIME - Duration::from_millis(1));
        assert!(tokens.redeem_here(&first).is_some());
        assert!(tokens.redeem_here(&first).is_none());
        clock.advance(Duration::from_millis(1));
        assert!(tokens.redeem_here(&second).is_none());
        drop(tokens.mint_here(passage("ben")));
        assert_eq!(tokens.waiting.lock().len(), 1, "what has ended is forgotten");
        assert!(tokens.redeem_here(&third).is_none());
        assert!(tokens.redeem_here("").is_none());
    }

    #[test]
    fn of_many_who_redeem_at_once_one_wins() {
        let (tokens, _) = tokens();
        for _ in 0..200 {
            let token = tokens.mint_here(passage("ana")).unwrap();
            let start = Barrier::new(8);
            let won = std::thread::scope(|scope| {
                let redeem = || {
                    start.wait();
                    usize::from(tokens.redeem_here(&token).is_some())
                };
                let all: Vec<_> = (0..8).map(|_| scope.spawn(redeem)).collect();
                all.into_iter().map(|one| one.join().unwrap()).sum::<usize>()
            });
            assert_eq!(won, 1);
        }
    }

    #[test]
    fn their_number_is_bounded_and_one_session_takes_no_place_of_others() {
        let (tokens, clock) = tokens();
        let bens = tokens.mint_here(passage("ben")).unwrap();
        let anas: Vec<String> = (0..100).map(|_| tokens.mint_here(passage("ana")).unwrap()).collect();
        assert_eq!(tokens.waiting.lock().len(), 1 + MOST_PER_SESSION);
        assert!(tokens.redeem_here(&anas[91]).is_none() && tokens.redeem_here(&anas[92]).is_some());
        assert!(tokens.redeem_here(&bens).is_some());
        let given = (0..MOST + 10).filter(|number| tokens.mint_here(passage(&number.to_string())).is_some()).count();
        assert!((MOST - MOST_PER_SESSION..=MOST).contains(&given), "{given}");
        clock.advance(LIFETIME);
        assert!(tokens.mint_here(passage("ana")).is_some(), "room comes back by itself");
    }

    #[test]
    fn no_two_are_alike_and_none_is_held_as_it_is() {
        let (tokens, _) = tokens();
        let given: HashSet<String> =
            (0..1000).map(|number| tokens.mint_here(passage(&number.to_string())).unwrap()).collect();
        assert_eq!(given.len(), 1000);
        assert!(given.iter().all(|token| URL_SAFE_NO_PAD.decode(token).unwrap().len() == 32));
        assert!(tokens.waiting.lock().iter().all(|one| is_mark(&one.mark) && !given.contains(&one.mark)));
    }

    #[test]
    fn a_mark_is_known_by_its_form() {
        assert!(is_mark(&mark_of("anything")));
        for other in ["", "x", "../../x", &"A".repeat(44), &format!("{} ", mark_of("x"))] {
            assert!(!is_mark(other), "{other}");
        }
    }
}
