//! A real server for unit tests, gone with whoever started it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::{Store, StorePlan};
use crate::config::Section;
use crate::domain::Clock;
use crate::observe::Metrics;

/// A server that listens on a socket of its own and keeps nothing.
pub(crate) struct Scratch {
    server: Child,
    folder: tempfile::TempDir,
}

impl Scratch {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Self::serve(folder.path()).await;
        Self { server, folder }
    }

    async fn serve(folder: &Path) -> Child {
        let socket = folder.join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.arg("--dir").arg(folder).arg("--unixsocket").arg(&socket);
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut tries = 0;
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            tries += 1;
            assert!(tries < 1000, "redis-server does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.expect("redis-server is installed")
    }

    /// Starts it again after it was stopped, with what it was told to `SAVE` last.
    pub(crate) async fn start_again(&mut self) {
        drop(self.server.wait());
        self.server = Self::serve(self.folder.path()).await;
    }

    /// A replica's view of it. All of them can read each other's.
    pub(crate) fn store(&self, clock: Arc<dyn Clock>) -> Arc<Store> {
        self.store_when_down("refuse", clock)
    }

    /// The same, with what happens while it is down.
    pub(crate) fn store_when_down(&self, when_down: &str, clock: Arc<dyn Clock>) -> Arc<Store> {
        Store::new(self.plan(when_down, &["seals seals seals seals seals 32!"]), clock, &Metrics::new())
    }

    /// What is configured for one, with these keys.
    pub(crate) fn plan(&self, when_down: &str, keys: &[&str]) -> StorePlan {
        self.plan_with(&format!("when_down = \"{when_down}\""), keys)
    }

    /// The same with these lines.
    pub(in crate::store) fn plan_with(&self, lines: &str, keys: &[&str]) -> StorePlan {
        let keys = keys.iter().map(|key| format!("[[key]]\nid = \"{key}\"\nsecret = \"{key}\"\n"));
        let text = format!(
            "kind = \"redis\"\naddresses = [\"unix:{}/redis.sock\"]\ntimeout = \"5s\"\n{lines}\n\
             names_secret = \"names names names names names 32!\"\n{}",
            self.folder.path().display(),
            keys.collect::<String>()
        );
        StorePlan::read(Section::from_toml(&text).unwrap()).unwrap()
    }

    /// Says something to the server by its own client, and gives back what that printed.
    pub(crate) fn say(&self, words: &[&str]) -> String {
        let socket = self.folder.path().join("redis.sock");
        let output = Command::new("redis-cli").arg("-s").arg(socket).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// All that it keeps, as its own client prints it, without what is no text.
    pub(crate) fn everything(&self) -> String {
        self.say(&["--raw", "EVAL", include_str!("everything.lua"), "0"])
    }

    /// Ends the server.
    pub(crate) fn stop(&self) {
        self.say(&["SHUTDOWN", "NOSAVE"]);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ManualClock;

    #[tokio::test]
    async fn what_one_replica_puts_another_has_once_and_nobody_else_can_read() {
        let server = Scratch::start().await;
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        let [one, other] = [(); 2].map(|()| server.store(Arc::clone(&clock)));
        let place = one.place("test", &[b"ana"]);
        assert_eq!(other.get(&place).await, Ok(None));
        one.put(&place, b"ana's secret", Duration::from_secs(60)).await.unwrap();
        assert_eq!(one.put_new(&place, b"other", Duration::from_secs(60)).await, Ok(false));
        assert_eq!(other.get(&place).await.unwrap().as_deref(), Some(&b"ana's secret"[..]));
        let all = server.say(&["--no-raw", "KEYS", "*"]) + &server.say(&["GET", &place.key("keyward", "v")]);
        assert!(all.contains("keyward:{") && !all.contains("ana"), "{all}");
        assert_eq!(other.take(&place).await.unwrap().as_deref(), Some(&b"ana's secret"[..]));
        assert_eq!(one.take(&place).await, Ok(None));
    }

    #[tokio::test]
    async fn a_replica_that_is_ready_stays_so_when_the_store_comes() {
        let mut server = Scratch::start().await;
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        let early = server.store_when_down("login", Arc::clone(&clock));
        assert!(!early.is_ready(), "it may be there, and have sign-outs");
        server.stop();
        let [without, refusing] = ["login", "refuse"].map(|word| server.store_when_down(word, Arc::clone(&clock)));
        while !without.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.start_again().await;
        let place = without.place("test", &[]);
        while without.get(&place).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(without.is_ready(), "or all would go at once that started without it");
        assert!(!refusing.is_ready(), "it has heard nothing yet");
    }
}
