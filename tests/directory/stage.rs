//! A directory as it is configured, and people in it.

use std::sync::Arc;
use std::time::Duration;

use keyward::config::Section;
use keyward::domain::{Clock, ManualClock, Outage, Secret};
use keyward::pages::Pages;
use keyward::portal::ldap::{Directory, Member};
use keyward::portal::{Sessions, Surroundings};
use keyward::wire::Errands;

use crate::real::slapd::{BASE, Options, READER, READER_PASSWORD, Slapd, group, person, person_dn};

/// A real server and whoever asks it.
pub struct Stage {
    pub slapd: Slapd,
    _home: tempfile::TempDir,
}

/// Alice and Bob, and who is in which group: `staff` is alice's, `all` has `staff` in it.
pub fn people() -> String {
    person("alice", "wonderland")
        + &person("bob", "builder")
        + &group("staff", &[person_dn("alice")])
        + &group("all", &[crate::real::slapd::group_dn("staff"), person_dn("bob")])
}

impl Stage {
    pub async fn open() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(mut options: Options) -> Self {
        options.ldif = people() + &options.ldif;
        let home = tempfile::tempdir().unwrap();
        let slapd = Slapd::start(&home.path().join("slapd"), options).await.unwrap();
        Self { slapd, _home: home }
    }

    /// What is written where people are searched for by an account of our own.
    pub fn search(&self) -> String {
        format!("servers = [\"{}\"]\n{}", self.slapd.url(), searching())
    }

    /// What is written where the DN is made from the name.
    pub fn template(&self) -> String {
        format!("servers = [\"{}\"]\ndn = \"uid={{login}},ou=people,{BASE}\"\n", self.slapd.url())
    }

    /// How many connections have taken leave of the server.
    pub fn leaves(&self) -> usize {
        self.slapd.log().matches(" UNBIND").count()
    }

    /// Which operations (`BIND`, `SRCH`, …) the server wrote down since `start`.
    pub fn operations(&self, start: usize) -> Vec<String> {
        let log = self.slapd.log();
        let lines = log.get(start..).unwrap_or_default().lines();
        let words = ["ACCEPT", " BIND dn=", " SRCH base=", " EXT ", " UNBIND"];
        let words = lines.filter_map(|line| words.iter().find(|word| line.contains(**word)));
        // A bind that succeeds has a second line, about who it was.
        words.map(|word| word.trim().to_owned()).collect()
    }
}

/// How people are searched for by an account of our own.
pub fn searching() -> String {
    format!("base = \"{BASE}\"\nbind_dn = \"{READER}\"\nbind_password = \"{READER_PASSWORD}\"\n")
}

/// What was configured, or the keys with mistakes.
pub fn try_directory(text: &str, clock: &Arc<ManualClock>) -> Result<Directory, Vec<String>> {
    let mut section = Section::from_toml(text).unwrap_or_else(|mistake| panic!("{mistake:?}\n{text}"));
    let surroundings = Surroundings {
        name: "people".to_owned(),
        sessions: Sessions::new(10),
        errands: Errands::new(),
        pages: Pages::shipped(),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
    };
    let directory = Directory::read(&mut section, &surroundings);
    let mistakes = section.mistakes().into_iter().map(|mistake| mistake.key).collect::<Vec<_>>();
    section.finish();
    match directory {
        Some(directory) if mistakes.is_empty() => Ok(directory),
        _ => Err(mistakes),
    }
}

pub fn directory(text: &str) -> Directory {
    timed(text, &Arc::new(ManualClock::at(0)))
}

pub fn timed(text: &str, clock: &Arc<ManualClock>) -> Directory {
    try_directory(text, clock).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"))
}

pub fn secret(text: &str) -> Secret {
    Secret::from(text)
}

/// Who comes in with this name and password.
pub async fn user(directory: &Directory, name: &str, password: &str) -> Result<Option<String>, Outage> {
    let member = directory.sign_in(name, &secret(password)).await?;
    Ok(member.map(|member| member.identity.user().to_owned()))
}

pub fn roles(member: &Member) -> Vec<String> {
    let mut roles: Vec<String> = member.identity.roles().iter().map(ToString::to_string).collect();
    roles.sort();
    roles
}

pub const SECOND: Duration = Duration::from_secs(1);

/// Waits until something is so.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(20 * SECOND, looking).await.is_ok(), "it never came");
}
