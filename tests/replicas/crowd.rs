//! People who read their mail all day long, each through a connection of their own, and what they got to see.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyward::demo::process::Address;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fakes::server::locked;
use crate::house::{HOST, House};
use crate::person::User;
use crate::support::{Answer, Connection};

/// Longest time until everybody has looked again.
const ROUND_WITHIN: Duration = Duration::from_secs(120);
/// What is shown of all that went wrong.
const SHOWN: usize = 8;

/// What somebody got to see.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Mailbox,
    /// Another person's mailbox.
    Wrong(String),
    /// The application's own login page: the keys were none.
    Stranger,
    /// Sign in first, or no.
    Refused(String),
    /// Come back later.
    Unavailable(String),
}

impl Seen {
    pub fn of(user: &str, answer: &Answer) -> Self {
        let body = String::from_utf8_lossy(&answer.body);
        if answer.status == 200 {
            let shown = body.split_once("<span>").and_then(|(_, rest)| rest.split_once("</span>"));
            return match shown {
                Some((shown, _)) if shown == user => Self::Mailbox,
                Some((shown, _)) => Self::Wrong(format!("{user} sees the mailbox of {shown}")),
                None => Self::Stranger,
            };
        }
        let reason = body.split_once("\"reason\":\"").and_then(|(_, rest)| rest.split_once('"'));
        let what = format!("{} {}", answer.status, reason.map_or("", |(reason, _)| reason));
        if answer.status >= 500 { Self::Unavailable(what) } else { Self::Refused(what) }
    }
}

/// What all of them got to see.
#[derive(Default)]
pub struct Tally {
    mailboxes: AtomicUsize,
    bad: Mutex<BTreeMap<String, Vec<String>>>,
    /// Whether people who come now are told to wait, and that is right.
    newcomers_wait: AtomicBool,
}

impl Tally {
    fn note(&self, user: &User, seen: Seen) {
        let bad = match seen {
            Seen::Mailbox => {
                user.seen.fetch_add(1, Ordering::Relaxed);
                self.mailboxes.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Seen::Unavailable(_)
                if user.came_late.load(Ordering::Relaxed) && self.newcomers_wait.load(Ordering::Relaxed) =>
            {
                return;
            }
            Seen::Wrong(what) => format!("a wrong answer: {what}"),
            Seen::Stranger => "keys that open nothing".to_owned(),
            Seen::Refused(what) => format!("a session that is good was refused: {what}"),
            Seen::Unavailable(what) => format!("nobody had to wait: {what}"),
        };
        locked(&self.bad).entry(bad).or_default().push(user.name.clone());
    }

    /// Everything that nobody may see.
    fn bad(&self) -> String {
        let bad = locked(&self.bad);
        let line = |(what, who): (&String, &Vec<String>)| {
            format!("{} times {what}: {:?} …\n", who.len(), &who[..who.len().min(SHOWN)])
        };
        bad.iter().take(SHOWN).map(line).collect()
    }
}

pub struct Crowd {
    public: SocketAddr,
    /// Mean time between two looks of one person.
    pace: Duration,
    pub people: Vec<Arc<User>>,
    tally: Arc<Tally>,
    tasks: JoinSet<()>,
}

impl Crowd {
    pub fn new(house: &House, pace: Duration) -> Self {
        Self { public: house.public, pace, people: Vec::new(), tally: Arc::default(), tasks: JoinSet::new() }
    }

    /// So many more come, each with a mailbox.
    pub fn join(&mut self, house: &House, names: &str, count: usize) {
        for number in 0..count {
            let user = Arc::new(house.user(&format!("{names}-{number}")));
            user.came_late.store(self.tally.newcomers_wait.load(Ordering::Relaxed), Ordering::Relaxed);
            self.people.push(Arc::clone(&user));
            self.tasks.spawn(read_mail(self.public, user, Arc::clone(&self.tally), self.pace));
        }
    }

    /// Waits until everybody who was let in before has seen the mailbox so many times more.
    pub async fn rounds(&mut self, rounds: usize) {
        let seen = |user: &User| user.seen.load(Ordering::Relaxed);
        let known = self.people.iter().filter(|user| seen(user) > 0);
        let wanted: Vec<(Arc<User>, usize)> = known.map(|user| (Arc::clone(user), seen(user) + rounds)).collect();
        self.come_to(&wanted).await;
    }

    /// Waits until everybody has been let in.
    pub async fn all_in(&mut self) {
        let wanted: Vec<(Arc<User>, usize)> = self.people.iter().map(|user| (Arc::clone(user), 1)).collect();
        self.come_to(&wanted).await;
    }

    async fn come_to(&mut self, wanted: &[(Arc<User>, usize)]) {
        let looking = async {
            loop {
                if let Some(Err(ended)) = self.tasks.try_join_next() {
                    panic!("somebody left: {ended}");
                }
                if wanted.iter().all(|(user, times)| user.seen.load(Ordering::Relaxed) >= *times) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(ROUND_WITHIN, looking).await.is_err() {
            let missing = wanted.iter().filter(|(user, times)| user.seen.load(Ordering::Relaxed) < *times);
            let missing: Vec<&String> = missing.map(|(user, _)| &user.name).collect();
            panic!("{} see nothing any more, such as {}\n{}", missing.len(), missing[0], self.tally.bad());
        }
    }

    /// Until told otherwise, whoever comes from now on may be told to come back.
    pub fn newcomers_wait(&self, wait: bool) {
        self.tally.newcomers_wait.store(wait, Ordering::Relaxed);
    }

    /// Mailboxes seen so far.
    pub fn mailboxes(&self) -> usize {
        self.tally.mailboxes.load(Ordering::Relaxed)
    }

    /// Nobody has seen anything but their own mailbox so far.
    pub async fn content(&self, house: &House, when: &str) {
        let bad = self.tally.bad();
        if !bad.is_empty() {
            panic!("{when}:\n{bad}{}", house.words().await);
        }
    }

    /// Everybody finishes what they look at, and leaves.
    pub async fn go_home(&mut self) {
        self.tasks.shutdown().await;
    }
}

async fn read_mail(public: SocketAddr, user: Arc<User>, tally: Arc<Tally>, pace: Duration) {
    // They do not all come in the same instant.
    tokio::time::sleep(pace.mul_f64(rand::random_range(0.0..3.0))).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n\r\n", user.cookie);
    let mut connection = Connection::open(&Address::Tcp(public)).await;
    loop {
        let asked = Instant::now();
        connection.send(&request).await;
        // The web server ends connections after so many requests; then there is another try.
        let Some(answer) = connection.maybe_answer().await else {
            connection = Connection::open(&Address::Tcp(public)).await;
            continue;
        };
        tally.note(&user, Seen::of(&user.name, &answer));
        // On a machine that has other things to do nobody asks for more than it can give: what is slow by itself
        // would look like an outage.
        let took = asked.elapsed();
        tokio::time::sleep(pace.mul_f64(rand::random_range(0.5..1.5)) + 2 * took).await;
    }
}
