use super::*;
use crate::config::Section;
use crate::domain::{Identity, ManualClock};
use crate::observe::Metrics;
use crate::pages::Pages;
use crate::portal::Surroundings;
use crate::portal::ldap::Member;
use crate::store::scratch::Scratch;

/// Nobody is asked by it.
const DIRECTORY: &str = "servers = [\"ldap://127.0.0.1:1\"]\nbase = \"dc=test\"\nbind_dn = \"cn=reader\"\n\
                         bind_password = \"secret\"\nfilter = \"(uid={login})\"\n";

struct Replica {
    people: People,
    clock: Arc<ManualClock>,
}

impl Replica {
    async fn of(server: &Scratch, when_down: &str) -> Self {
        let clock = Arc::new(ManualClock::at(1000));
        let (store, sessions) = (server.store_when_down(when_down, clock.clone()), Sessions::new(10));
        sessions.share(&store);
        let hearing = Arc::clone(&store);
        tokio::spawn(async move { hearing.run_journal(&Metrics::new()).await });
        while store.server_now().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let errands = Errands::new();
        errands.run_on(tokio::runtime::Handle::current());
        let at: Arc<dyn Clock> = clock.clone();
        let surroundings = Surroundings {
            name: "staff".to_owned(),
            sessions: Arc::clone(&sessions),
            errands: Arc::clone(&errands),
            pages: Pages::shipped(),
            clock: Arc::clone(&at),
        };
        let directory = Directory::read(&mut Section::from_toml(DIRECTORY).unwrap(), &surroundings).unwrap();
        let people = People {
            portal: surroundings.name,
            directory: Arc::new(directory),
            kept: sessions,
            errands,
            clock: at,
            session_lifetime: Duration::from_secs(3600),
            refresh_every: Duration::from_secs(300),
            changed: Mutex::new(Bounded::new(MOST_CHANGED)),
        };
        Self { people, clock }
    }

    /// The directory has just said that this is their password.
    fn vouched(&self, user: &str) -> Vouched {
        let identity = Identity::new(user.to_owned(), "", "", Vec::new()).unwrap();
        Vouched { member: Arc::new(Member { dn: format!("uid={user}"), identity }), asked: self.clock.now() }
    }

    async fn opens(&self, vouched: &Vouched, password: &str) -> bool {
        let opened = self.people.open(vouched, "ana", &Secret::from(password)).await;
        let Some(opened) = opened else { return false };
        let held = self.people.kept.of_id(&opened.id, self.clock.unix());
        held.is_some()
    }
}

#[tokio::test]
async fn a_password_that_was_changed_at_one_replica_opens_nothing_at_another_that_was_just_asking() {
    let server = Scratch::start().await;
    let (one, other) = (Replica::of(&server, "refuse").await, Replica::of(&server, "refuse").await);
    let (before, bens) = (other.vouched("ana"), other.vouched("ben"));
    assert!(other.opens(&before, "old").await);
    one.clock.advance(Duration::from_secs(10));
    one.people.end_all_but("ana", &Secret::from("new")).await;
    assert!(!other.opens(&before, "old").await, "it was right when the directory was asked");
    assert!(other.people.open_without_cookie(&before, "ana", &Secret::from("old")).await.is_none());
    assert!(other.opens(&bens, "his own").await, "nobody else is meant");
    other.clock.advance(Duration::from_secs(20));
    assert!(other.opens(&other.vouched("ana"), "new").await);
    let everything = server.everything();
    assert!(!everything.contains("ana") && !everything.contains("staff"), "{everything}");
}
