//! The languages in which the examples mint tickets, as far as they are there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::wish::Wish;

/// A language in which tickets are minted, and how its file is run.
pub struct Language {
    pub name: &'static str,
    pub runtime: &'static str,
    arguments: &'static [&'static str],
    /// Succeeds where everything is there that is needed.
    probe: &'static [&'static str],
    /// Whether it must be there where changes are checked before they land.
    wanted: bool,
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "PHP",
        runtime: "php",
        arguments: &["php/keyward_ticket.php"],
        probe: &["-r", "exit(extension_loaded('openssl') ? 0 : 1);"],
        wanted: true,
    },
    Language {
        name: "Python",
        // The one that has Debian's packages.
        runtime: "/usr/bin/python3",
        arguments: &["-B", "python/keyward_ticket.py"],
        probe: &["-c", "import cryptography"],
        wanted: true,
    },
    Language {
        name: "JavaScript",
        runtime: "node",
        arguments: &["javascript/keyward-ticket.mjs"],
        probe: &["--version"],
        wanted: true,
    },
    Language {
        name: "Java",
        runtime: "java",
        arguments: &["-Dstdout.encoding=UTF-8", "java/KeywardTicket.java"],
        // Where only finished programs are run, this module is missing.
        probe: &["--describe-module", "jdk.compiler"],
        wanted: true,
    },
    // Debian's package of it takes half a gigabyte, and its functions are the least special.
    Language {
        name: "Go",
        runtime: "go",
        arguments: &["run", "go/keyward_ticket.go", "go/main.go"],
        probe: &["version"],
        wanted: false,
    },
];

impl Language {
    fn is_there(&self) -> bool {
        let probe = Command::new(self.runtime).args(self.probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
        probe.is_ok_and(|status| status.success())
    }

    /// What becomes of each of these: a ticket, or `refused: ` and why.
    pub fn mint(&self, wishes: &[Wish]) -> Vec<String> {
        self.answers(&wishes.iter().map(Wish::line).collect::<Vec<_>>())
    }

    pub fn answers(&self, lines: &[String]) -> Vec<String> {
        let mut command = Command::new(self.runtime);
        command.args(self.arguments).current_dir(examples()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let written = format!("{}\n", lines.join("\n"));
        let mut input = process.stdin.take().unwrap();
        // From a thread, since the other side answers before it has read everything.
        let writer = std::thread::spawn(move || input.write_all(written.as_bytes()));
        let output = process.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}: {said}", self.name);
        let said: Vec<String> = said.lines().map(str::to_owned).collect();
        assert_eq!(said.len(), lines.len(), "{}: {said:?}", self.name);
        said
    }
}

/// Every language whose runtime is there. Says which is not.
pub fn languages() -> Vec<&'static Language> {
    let (there, missing): (Vec<&Language>, Vec<&Language>) = LANGUAGES.iter().partition(|one| one.is_there());
    let names = |some: &[&Language]| some.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
    if !missing.is_empty() {
        eprintln!("{} of {} languages NOT TESTED here: {}", missing.len(), LANGUAGES.len(), names(&missing));
    }
    if std::env::var_os("CI").is_some() {
        let missing: Vec<&Language> = missing.into_iter().filter(|one| one.wanted).collect();
        assert!(missing.is_empty(), "missing: {}", names(&missing));
    }
    assert!(!there.is_empty(), "no language is there");
    there
}

pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/portal")
}
