//! What stands in the store, and what is said to it, tells nobody anything.

use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use keyward::demo::process::find_program;

use crate::house::{HOST, House, Plan};
use crate::person::User;
use crate::redis::Redis;
use crate::stores::{NAMES_SECRET, RING_SECRET, Store};
use crate::support::{APP_PORTAL, Answer, Ask, Ticket, until};

/// Listens to everything that is said to a server.
struct Monitor {
    client: std::process::Child,
    heard: tempfile::NamedTempFile,
}

impl Monitor {
    async fn start(server: &Redis) -> Self {
        let mut command = Command::new(find_program("redis-cli").unwrap());
        command.arg("-s").arg(server.socket()).arg("MONITOR");
        // A pipe that nobody reads would be full soon.
        let heard = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(heard.reopen().unwrap()).stderr(Stdio::null());
        let client = command.spawn().unwrap();
        until("a listener", || async { server.say(&["CLIENT", "LIST"]).contains("cmd=monitor") }).await;
        Self { client, heard }
    }

    /// All that it has heard, up to this.
    async fn until(mut self, last: &[u8]) -> Vec<u8> {
        let heard = || std::fs::read(self.heard.path()).unwrap();
        until("the last word", || async { memchr::memmem::find(&heard(), last).is_some() }).await;
        let mut heard = heard();
        heard.truncate(memchr::memmem::find(&heard, last).unwrap());
        self.client.kill().unwrap();
        self.client.wait().unwrap();
        heard
    }
}

/// Everything that stands in a server, as its own client fetches it.
fn dump(server: &Redis) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.rdb");
    let told = server.say(&["--rdb", file.to_str().unwrap()]);
    let mut dump = std::fs::read(&file).unwrap_or_else(|error| panic!("{error}: {told}"));
    for key in server.say(&["--scan"]).lines() {
        dump.extend(format!("{key}\n{}\n", server.say(&["DUMP", key])).bytes());
    }
    dump
}

/// A text as it could stand there, to whoever looks for it.
fn guises(text: &str) -> Vec<Vec<u8>> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut guises = vec![text.as_bytes().to_vec(), hex.to_ascii_uppercase().into_bytes(), hex.into_bytes()];
    for shift in 0..3_usize {
        // In the middle of a longer text the first and the last letters belong to its neighbours, too.
        let padded = [vec![0; shift], text.as_bytes().to_vec()].concat();
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            let whole = (padded.len() / 3) * 4;
            let first = if shift == 0 { 0 } else { 4 };
            guises.push(encoded.as_bytes()[first..whole].to_vec());
        }
    }
    // A text of a few letters is found in any dump.
    guises.retain(|guise| guise.len() >= 5);
    guises
}

fn finds(dump: &[u8], text: &str) -> bool {
    guises(text).iter().any(|guise| memchr::memmem::find(dump, guise).is_some())
}

/// All that is somebody's own, as far as a decision shows it.
fn secrets_of(user: &User, answer: &Answer) -> Vec<String> {
    let ticket = user.cookie.split_once('=').unwrap().1;
    let cookie = answer.one("X-Upstream-Cookie");
    let uri = answer.one("X-Upstream-Uri");
    let key = |text: &str| text.rsplit_once('=').unwrap().1.to_owned();
    let mut secrets: Vec<String> = ticket.split('.').skip(2).map(str::to_owned).collect();
    secrets.extend([key(&cookie), key(&uri), user.name.clone(), crate::support::password_of(&user.name)]);
    secrets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_dump_nor_a_listener_tells_anything() {
    let server = Redis::configured("rdbcompression no\n").await;
    let store = Store::of(server).await;
    let house = House::start(&Plan::sharing(store.settings(""))).await;
    house.store_is(true).await;
    let monitor = Monitor::start(store.primaries()[0]).await;
    let mut secrets: Vec<String> =
        [HOST, APP_PORTAL.secret, APP_PORTAL.name, NAMES_SECRET, RING_SECRET, "127.0.0.1"].map(str::to_owned).into();
    secrets.push(house.mail.url());
    for number in 0..4 {
        let name = format!("canary-{number}");
        let sid = format!("the-portals-own-name-{number}");
        let mut user = house.user(&name);
        let ticket = Ticket::of(&name).sid(&sid).name("Ana Canary").email("ana@canary.test").roles(&["canaries"]);
        user.cookie = ticket.cookie();
        secrets.extend([sid, "Ana Canary".to_owned(), "ana@canary.test".to_owned(), "canaries".to_owned()]);
        for replica in &house.replicas {
            let answer = replica.ask(&Ask::get(format!("http://{HOST}/")).cookie(&user.cookie)).await;
            secrets.extend(secrets_of(&user, answer.assert_allows(&name)));
        }
        if number % 2 == 1 {
            crate::sign_out::sign_out(&house.replicas[0], &user).await;
        } else {
            // A password that is refused is remembered as well.
            let wrong = ticket.password("not the canary's password").cookie();
            let wrong = Ask::get(format!("http://{HOST}/")).cookie(&wrong);
            assert_eq!(house.replicas[1].ask(&wrong).await.status, 200, "the session has keys");
            let other = Ticket::of(&name).password("not the canary's password").cookie();
            let other = Ask::get(format!("http://{HOST}/")).cookie(&other);
            assert_eq!(house.replicas[1].ask(&other).await.reason(), "credentials_refused");
            secrets.push("not the canary's password".to_owned());
        }
    }
    until("what is to be ended", || async { house.mail.sessions() == 2 }).await;
    let server = store.primaries()[0];
    // It finds what is there, so that it finds what should not be.
    server.say(&["SET", "planted", "ana@canary.test"]);
    assert!(finds(&dump(server), "ana@canary.test"));
    server.say(&["DEL", "planted"]);
    let heard = monitor.until(b"\"SET\" \"planted\"").await;
    let dump = dump(server);
    assert!(dump.len() > 1000 && heard.len() > 1000, "there is something to look through");
    secrets.sort_unstable();
    secrets.dedup();
    for secret in &secrets {
        assert!(!finds(&dump, secret), "{secret} stands in the store");
        assert!(!finds(&heard, secret) || secret == "127.0.0.1", "{secret} was said to the store");
    }
}
