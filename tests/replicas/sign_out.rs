//! Whoever signs out at one replica is signed out at all of them, as soon as it is said that they are.

use std::sync::Arc;
use std::time::Duration;

use keyward::store::{HEARD_AGAIN_WITHIN, HEARD_WITHIN};
use tokio::time::Instant;

use crate::house::{HOST, House, Plan, ask};
use crate::person::User;
use crate::redis::Program;
use crate::replica::Replica;
use crate::stores::{Store, TIMEOUT};
use crate::support::until;

/// How much longer anything may take on a machine that has other things to do: these tests run beside others, on few
/// cores. Nothing of it is the program's.
const SCHEDULING: Duration = Duration::from_secs(15);
/// Longest time until a connection that is dead and does not say so is given up.
pub const DEAD_FOR: Duration = Duration::from_secs(3).saturating_add(TIMEOUT);
/// How well two replicas agree on the time: to within a round trip on a busy machine.
const CLOCKS: f64 = 0.5;

pub async fn house_of(store: &Store) -> House {
    let house = House::start(&Plan::sharing(store.settings(""))).await;
    house.store_is(true).await;
    house
}

pub async fn sign_out(replica: &Replica, user: &User) {
    let mut connection = replica.connect().await;
    let lines = format!("Host: {HOST}\r\nCookie: {}\r\nSec-Fetch-Site: same-origin\r\n", user.cookie);
    connection.send(format!("GET /.keyward/logout HTTP/1.1\r\n{lines}\r\n")).await;
    let answer = connection.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

pub async fn is_revoked(replica: &Replica, user: &User) -> bool {
    let answer = replica.ask(&ask(user)).await;
    if answer.status == 200 {
        answer.assert_allows(&user.name);
        return false;
    }
    assert_eq!(answer.assert_refuses().reason(), "revoked");
    true
}

/// Waits until all replicas refuse, which they do within this time, and says how long it took.
pub async fn revoked_everywhere(house: &House, user: &User, within: Duration) -> Duration {
    let begun = Instant::now();
    let refused = async {
        for replica in &house.replicas {
            while !is_revoked(replica, user).await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    if tokio::time::timeout(within + SCHEDULING, refused).await.is_err() {
        panic!("{} is not signed out within {within:?} and {SCHEDULING:?}\n{}", user.name, house.words().await);
    }
    begun.elapsed()
}

/// How many sign-outs a replica has measured, and how long they took in all, in seconds.
async fn measured(house: &House) -> Vec<(f64, f64)> {
    let mut measured = Vec::new();
    for replica in &house.replicas {
        let count = replica.metric("keyward_revocation_seconds_count").await;
        measured.push((count, replica.metric("keyward_revocation_seconds_sum").await));
    }
    measured
}

pub fn people<const N: usize>(house: &House, names: &str) -> [Arc<User>; N] {
    std::array::from_fn(|number| Arc::new(house.user(&format!("{names}-{number}"))))
}

async fn told(store: Store, kind: &str) {
    let house = house_of(&store).await;
    let people: [_; 12] = people(&house, "ana");
    house.warm(&people).await;
    assert_eq!(house.mail.sessions(), people.len());
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    for (number, user) in people.iter().enumerate() {
        let at = &house.replicas[number % 3];
        sign_out(at, user).await;
        assert!(is_revoked(at, user).await, "here at once");
        longest = longest.max(revoked_everywhere(&house, user, HEARD_WITHIN).await);
    }
    eprintln!("{kind}: a sign-out was heard everywhere within {longest:?}");
    until("the end at the mailbox server", || async { house.mail.sessions() == 0 }).await;
    for (count, sum) in measured(&house).await {
        assert_eq!(count, 12.0, "each is measured at each replica");
        assert!(sum > 0.0 && sum <= begun.elapsed().as_secs_f64() + 12.0 * CLOCKS, "{sum}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_is_heard_everywhere_with_one_server_whoever_made_it() {
    for program in Program::ALL {
        told(Store::made_by(program).await, &format!("{program:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_is_heard_everywhere_with_sentinels() {
    told(Store::sentinel().await, "Sentinels").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_is_heard_everywhere_with_a_cluster() {
    told(Store::cluster().await, "a Cluster").await;
}

/// What becomes of one sign-out, of which others cannot hear at first.
struct Lost<'a> {
    house: &'a House,
    user: &'a User,
    begun: Instant,
    before: Vec<(f64, f64)>,
}

impl<'a> Lost<'a> {
    async fn begin(house: &'a House, user: &'a User) -> Self {
        Self { house, user, begun: Instant::now(), before: measured(house).await }
    }

    /// From now on everybody can hear. They have within this time, and have measured how long it took.
    async fn becomes_heard(self, what: &str, within: Duration) {
        let took = revoked_everywhere(self.house, self.user, within).await;
        eprintln!("{what}: heard everywhere within {took:?}");
        assert_eq!(self.house.mail.logins(&self.user.name), 1, "{what}");
        let after = measured(self.house).await;
        for ((count, sum), (count_before, sum_before)) in after.into_iter().zip(self.before) {
            assert_eq!(count, count_before + 1.0, "{what}: each replica has measured it");
            let most = self.begun.elapsed().as_secs_f64() + CLOCKS;
            assert!((0.0..most).contains(&(sum - sum_before)), "{what}: {sum_before} {sum} {most}");
        }
    }
}

/// Two replicas hear nothing while somebody signs out at the third; what was said is lost when they can hear again.
async fn lost(store: &Store, house: &House, user: &User, what: &str, lose: impl AsyncFnOnce()) {
    let lost = Lost::begin(house, user).await;
    for deaf in [1, 2] {
        store.cut(deaf);
        house.replicas[deaf].store_is(false).await;
    }
    sign_out(&house.replicas[0], user).await;
    let deaf_since = Instant::now();
    lose().await;
    let before = lost.before.clone();
    let deaf = deaf_since.elapsed().as_secs_f64();
    store.heal(1);
    store.heal(2);
    lost.becomes_heard(what, HEARD_AGAIN_WITHIN).await;
    for ((_, sum), (_, before)) in measured(house).await.into_iter().zip(before).skip(1) {
        assert!(
            sum - before + CLOCKS >= deaf,
            "{what}: the time in which they were deaf counts: {sum} {before} {deaf}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_whose_message_was_lost_is_heard_within_the_bound() {
    let store = Store::single().await;
    let house = house_of(&store).await;
    let people: [_; 5] = people(&house, "ana");
    house.warm(&people).await;
    let [heard_late, trimmed, flushed, told_late, dead] = &people;
    lost(&store, &house, heard_late, "after the line was cut", async || {}).await;
    lost(&store, &house, trimmed, "after the message was trimmed", async || {
        let streams = store.streams();
        assert!(!streams.is_empty());
        for (server, stream) in streams {
            server.say(&["XTRIM", &stream, "MAXLEN", "0"]);
        }
    })
    .await;
    lost(&store, &house, flushed, "after everything was flushed", async || store.flush()).await;

    // Whoever was asked cannot reach the store.
    let lost = Lost::begin(&house, told_late).await;
    store.cut(0);
    house.replicas[0].store_is(false).await;
    sign_out(&house.replicas[0], told_late).await;
    assert!(is_revoked(&house.replicas[0], told_late).await);
    store.heal(0);
    lost.becomes_heard("told late", HEARD_AGAIN_WITHIN).await;

    // Connections that give nothing any more and do not end.
    let lost = Lost::begin(&house, dead).await;
    store.forget_connections(1);
    store.forget_connections(2);
    sign_out(&house.replicas[0], dead).await;
    lost.becomes_heard("on connections that are dead", DEAD_FOR + HEARD_AGAIN_WITHIN).await;
    until("the end at the mailbox server", || async { house.mail.sessions() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_starts_later_knows_who_has_signed_out() {
    let store = Store::single().await;
    let mut house = house_of(&store).await;
    let [ana] = people(&house, "ana");
    house.warm(std::slice::from_ref(&ana)).await;
    house.replicas[2].stop().await;
    sign_out(&house.replicas[0], &ana).await;
    house.replicas[2].start().await;
    house.replicas[2].is_ready().await;
    assert!(is_revoked(&house.replicas[2], &ana).await, "as soon as it is ready");
    // All of them at once: nobody is left who would remember.
    for replica in &mut house.replicas {
        replica.kill().await;
    }
    for replica in &mut house.replicas {
        replica.start().await;
        replica.is_ready().await;
        assert!(is_revoked(replica, &ana).await, "as soon as it is ready");
    }
    assert_eq!(house.mail.logins("ana-0"), 1);
}

/// What is written about it.
#[test]
fn the_bound_that_is_stated_is_the_one_that_is_kept() {
    let read = |name: &str| std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let text = |name: &str| read(name).split_whitespace().collect::<Vec<_>>().join(" ");
    let (heard, again) = (HEARD_WITHIN.as_secs(), HEARD_AGAIN_WITHIN.as_secs());
    let silent = (DEAD_FOR - TIMEOUT).as_secs();
    let whole = [
        (
            "README.md",
            format!(
                "within {heard} s, and as a rule within milliseconds; where a message was lost or the \
                               store could not be asked, within {again} s of when it can be asked again"
            ),
        ),
        ("conf/README.md", format!("within {heard} s, and as a rule within milliseconds")),
        ("conf/README.md", format!("within {again} s of when the store can be asked again")),
        ("conf/README.md", format!("is given up after {silent} s and `timeout`")),
        (
            "examples/kubernetes/monitoring/rules.yaml",
            format!("(rate(keyward_revocation_seconds_bucket[10m]))) > {again}"),
        ),
    ];
    for (file, sentence) in whole {
        assert!(text(file).contains(&sentence), "{file} does not say: {sentence}");
    }
}
