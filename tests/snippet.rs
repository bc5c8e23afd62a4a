//! `keyward snippet`: what it writes is what the examples hold, and no configuration makes it write anything else.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use keyward::snippet::SERVERS;

/// Files in an example's folder that are not written by the command: read by people, the configuration that it is
/// made from, and what is around it for trying it out.
const BESIDE: [&str; 4] = ["README.md", "keyward.toml", "kustomization.yaml", "nginx.conf"];

fn keyward(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYWARD")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    keyward(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn example(server: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(server)
}

/// Every file below a folder, relative to it.
fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    files.sort_unstable();
    files
}

#[test]
fn the_example_of_every_web_server_is_what_comes_out_for_its_configuration() {
    for server in SERVERS {
        let folder = example(server.name);
        let configuration = folder.join("keyward.toml");
        let configuration = configuration.to_str().unwrap();
        let checked = run(&["check", "-c", configuration]);
        assert_eq!(checked.status.code(), Some(0), "{}: {checked:?}", server.name);
        let directory = tempfile::tempdir().unwrap();
        let into = directory.path().to_str().unwrap();
        let output = run(&["snippet", server.name, "-c", configuration, "--into", into]);
        assert_eq!(output.status.code(), Some(0), "{}: {output:?}", server.name);
        let again =
            format!("keyward snippet {0} -c examples/{0}/keyward.toml --into examples/{0} --force", server.name);
        let written = files_below(directory.path());
        for file in &written {
            let new = std::fs::read_to_string(directory.path().join(file)).unwrap();
            let held = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
            assert!(new == held, "examples/{}/{file} is not what comes out; run: {again}", server.name);
        }
        let held = files_below(&folder);
        let others: Vec<_> =
            held.iter().filter(|file| !written.contains(file) && !BESIDE.contains(&&***file)).collect();
        assert!(others.is_empty(), "examples/{} has files that do not come out: {others:?}", server.name);
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.contains(&format!("keyward snippet {}", server.name)), "its README does not name the command");
    }
}

#[test]
fn the_addresses_of_the_examples_are_those_that_tests_replace() {
    for server in SERVERS {
        let text: String = files_below(&example(server.name))
            .iter()
            .filter(|file| !BESIDE.contains(&&***file))
            .map(|file| std::fs::read_to_string(example(server.name).join(file)).unwrap())
            .collect();
        for address in ["127.0.0.1:8080", "127.0.0.1:8000"] {
            assert!(text.contains(address), "{} has no {address}", server.name);
        }
    }
}
