//! Tokens that wait in the store, so that every replica can redeem them.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{LIFETIME, MOST_PER_SESSION, Passage};
use crate::domain::{ExposeSecret, Secret, SessionHandle};
use crate::store::{Place, Script, Store, StoreOutage, millis};

static MINT: LazyLock<Script> = LazyLock::new(|| Script::new(&["tokens"], include_str!("mint.lua")));
static REDEEM: LazyLock<Script> = LazyLock::new(|| Script::new(&["tokens"], include_str!("redeem.lua")));

/// Such a token: where those of its session stand, and what is known to nobody else. As a text it is longer than
/// one that waits at one replica, so that none is ever looked for at both.
pub(super) struct Token {
    place: Place,
    secret: [u8; 32],
}

/// A passage as it is sealed.
#[derive(Deserialize, Serialize)]
struct Sealed<'a> {
    portal: Cow<'a, str>,
    session: Cow<'a, str>,
    cookie: Cow<'a, str>,
    backend: Cow<'a, str>,
    destination: Cow<'a, str>,
    state: Cow<'a, str>,
    return_to: Option<Cow<'a, str>>,
}

impl Token {
    /// A new one, which waits in the store from now on. There it is known by a keyed hash; of one session's the
    /// oldest makes room for the newest.
    pub(super) async fn mint(store: &Store, passage: &Passage) -> Result<String, StoreOutage> {
        let SessionHandle { portal, id } = &passage.session;
        let place = store.place("handover", &[portal.as_bytes(), id.as_bytes()]);
        let token = Self { place, secret: rand::random() };
        let (mark, version) = token.mark(store);
        let sealed = store.seal(&place, version, Sealed::of(passage).text().expose_secret().as_bytes());
        let most = MOST_PER_SESSION.to_string();
        store.run(&MINT, &place, &[mark.as_bytes(), &sealed, &millis(LIFETIME), most.as_bytes()]).await?;
        Ok(URL_SAFE_NO_PAD.encode([token.place.as_bytes().as_slice(), &token.secret].concat()))
    }

    /// Reads one; `None` for everything that is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (place, secret) = bytes.split_first_chunk()?;
        Some(Self { place: Place::from_bytes(*place), secret: secret.try_into().ok()? })
    }

    /// What it stands for. Of all replicas that ask, one is told.
    pub(super) async fn redeem(&self, store: &Store) -> Result<Option<Passage>, StoreOutage> {
        let (mark, version) = self.mark(store);
        let answer = store.run(&REDEEM, &self.place, &[mark.as_bytes()]).await?;
        let opened = answer.bytes(0).and_then(|sealed| store.unseal(&self.place, version, sealed));
        // Nobody but us can have sealed it.
        let text = opened.and_then(|text| String::from_utf8(text).ok()).map(Secret::from);
        Ok(text.and_then(|text| serde_json::from_str::<Sealed<'_>>(text.expose_secret()).ok()?.passage()))
    }

    /// What it is known by in the store, and the version under which its passage is sealed: one cannot be put in
    /// the place of another.
    fn mark(&self, store: &Store) -> (Place, u64) {
        let mark = store.place("handover token", &[&self.secret]);
        let version = mark.as_bytes().first_chunk().copied().map(u64::from_be_bytes);
        (mark, version.unwrap_or_default())
    }
}

impl<'a> Sealed<'a> {
    fn of(passage: &'a Passage) -> Self {
        let Passage { session, cookie, backend, destination, state, return_to } = passage;
        Self {
            portal: session.portal.as_str().into(),
            session: session.id.as_str().into(),
            cookie: cookie.expose_secret().into(),
            backend: backend.into(),
            destination: destination.into(),
            state: state.into(),
            return_to: return_to.as_ref().map(|address| address.as_str().into()),
        }
    }

    fn text(&self) -> Secret {
        // Texts can always be written.
        Secret::from(serde_json::to_string(self).unwrap_or_default())
    }

    fn passage(self) -> Option<Passage> {
        let return_to = self.return_to.map(|address| Url::parse(&address)).transpose().ok()?;
        Some(Passage {
            session: SessionHandle { portal: self.portal.into(), id: self.session.into() },
            cookie: Secret::from(self.cookie.into_owned()),
            backend: self.backend.into(),
            destination: self.destination.into(),
            state: self.state.into(),
            return_to,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::join_all;

    use super::super::{NotMinted, Tokens, mark_of};
    use super::*;
    use crate::domain::{Clock, ManualClock};
    use crate::store::scratch::Scratch;

    fn passage(session: &str) -> Passage {
        Passage {
            session: SessionHandle { portal: "canary-portal".to_owned(), id: session.to_owned() },
            cookie: Secret::from("canary-cookie"),
            backend: "canary-mail".to_owned(),
            destination: "https://canary.test".to_owned(),
            state: mark_of("state"),
            return_to: Some(Url::parse("https://canary.test/there?a=b").unwrap()),
        }
    }

    fn replicas<const COUNT: usize>(server: &Scratch, when_down: &str) -> [Arc<Tokens>; COUNT] {
        [(); COUNT].map(|()| {
            let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_000_000));
            let tokens = Tokens::new(Arc::clone(&clock));
            tokens.share(&server.store_when_down(when_down, clock));
            tokens
        })
    }

    #[tokio::test]
    async fn a_token_of_one_replica_is_good_at_every_other_and_brings_all_it_stands_for() {
        let server = Scratch::start().await;
        let [one, other] = replicas(&server, "refuse");
        let token = one.mint(passage("ana")).await.unwrap();
        let found = other.redeem(&token).await.unwrap().unwrap();
        let expected = passage("ana");
        assert_eq!(found.cookie.expose_secret(), expected.cookie.expose_secret());
        assert!(found.session == expected.session && found.state == expected.state);
        assert_eq!((found.backend, found.destination), (expected.backend, expected.destination));
        assert_eq!(found.return_to, expected.return_to);
        for tokens in [&one, &other] {
            assert!(tokens.redeem(&token).await.unwrap().is_none());
        }
        let mut bent = URL_SAFE_NO_PAD.decode(one.mint(passage("ana")).await.unwrap()).unwrap();
        bent[47] ^= 1;
        assert!(one.redeem(&URL_SAFE_NO_PAD.encode(&bent)).await.unwrap().is_none());
        for stranger in ["", "x", &"A".repeat(43), &"A".repeat(64), &"A".repeat(4000)] {
            assert!(one.redeem(stranger).await.unwrap().is_none(), "{stranger}");
        }
    }

    #[tokio::test]
    async fn of_many_at_all_replicas_who_redeem_at_once_one_wins() {
        let server = Scratch::start().await;
        let replicas: [_; 3] = replicas(&server, "refuse");
        for round in 0..50 {
            let token = replicas[round % 3].mint(passage("ana")).await.unwrap();
            let all = (0..24).map(|number| {
                let (tokens, token) = (Arc::clone(&replicas[number % 3]), token.clone());
                tokio::spawn(async move { usize::from(tokens.redeem(&token).await.unwrap().is_some()) })
            });
            let won: usize = join_all(all).await.into_iter().map(Result::unwrap).sum();
            assert_eq!(won, 1);
        }
    }

    #[tokio::test]
    async fn a_session_has_a_few_wherever_they_are_minted_and_all_of_them_end() {
        let server = Scratch::start().await;
        let [one, other] = replicas(&server, "refuse");
        let bens = one.mint(passage("ben")).await.unwrap();
        let mut anas = Vec::new();
        for number in 0..MOST_PER_SESSION + 2 {
            let at = if number % 2 == 0 { &one } else { &other };
            anas.push(at.mint(passage("ana")).await.unwrap());
            // The oldest of one millisecond is anybody's.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let mut good = Vec::new();
        for token in &anas {
            good.push(one.redeem(token).await.unwrap().is_some());
        }
        assert_eq!(good, [vec![false; 2], vec![true; MOST_PER_SESSION]].concat());
        let keys = server.say(&["KEYS", "*"]);
        let [key] = keys.lines().collect::<Vec<_>>()[..] else { panic!("{keys}") };
        let left: u64 = server.say(&["PTTL", key]).trim().parse().unwrap();
        assert!((1..=60_000).contains(&left), "{left}");
        // As if the minute were over for the token and not for its neighbours.
        let script = "local mark = redis.call('HKEYS', KEYS[1])[1] \
                      local held = redis.call('HGET', KEYS[1], mark) \
                      return redis.call('HSET', KEYS[1], mark, (string.gsub(held, '^%d+', '1000')))";
        server.say(&["EVAL", script, "1", key]);
        assert!(other.redeem(&bens).await.unwrap().is_none(), "too late");
    }

    #[tokio::test]
    async fn nothing_of_a_token_can_be_read_in_the_store() {
        let server = Scratch::start().await;
        let [one] = replicas(&server, "refuse");
        let token = one.mint(passage("canary-session")).await.unwrap();
        let everything = server.everything();
        assert!(everything.contains("keyward:{"), "{everything}");
        let secret = &URL_SAFE_NO_PAD.decode(&token).unwrap()[16..];
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        for canary in ["canary", "Y2FuYXJ5", &token, &token[22..], &hex, &mark_of(&token), &mark_of("state")] {
            assert!(!everything.contains(canary), "{canary}");
        }
    }

    #[tokio::test]
    async fn without_the_store_nobody_is_told_no_and_a_token_is_good_where_it_was_minted_if_at_all() {
        let server = Scratch::start().await;
        let ([strict], [one, other]) = (replicas(&server, "refuse"), replicas(&server, "login"));
        let [first, second] = [strict.mint(passage("ana")).await.unwrap(), one.mint(passage("ana")).await.unwrap()];
        server.stop();
        assert!(matches!(strict.mint(passage("ana")).await, Err(NotMinted::Unavailable(_))));
        assert!(strict.redeem(&first).await.is_err() && other.redeem(&second).await.is_err(), "that is no no");
        let here = one.mint(passage("ana")).await.unwrap();
        assert!(other.redeem(&here).await.unwrap().is_none());
        assert!(one.redeem(&here).await.unwrap().is_some());
        assert!(one.redeem(&here).await.unwrap().is_none());
    }
}
