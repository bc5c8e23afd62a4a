//! The example for portals, line by line as it stands.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use tokio::process::Command;

use crate::fakes::axigen::{Axigen, Person};
use crate::support::Setup;

fn example(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/portal-api").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// What is set off in the text, less the answers that are shown.
fn commands(readme: &str) -> Vec<&str> {
    let set_off = readme.lines().filter_map(|line| line.strip_prefix("    "));
    set_off.filter(|line| !line.starts_with([' ', '{'])).collect()
}

/// The fields of the answer that is shown, and those within.
fn fields(answer: &str) -> BTreeSet<String> {
    answer
        .split('"')
        .skip(1)
        .step_by(2)
        .zip(answer.split('"').skip(2).step_by(2))
        .filter(|(_, after)| after.starts_with(':'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[tokio::test]
async fn every_line_of_the_example_does_what_the_example_says() {
    let mail = Axigen::start(vec![Person::new("ana", "p&w #x", "Ana Día")]).await.unwrap();
    let file = example("keyward.toml").replace("http://127.0.0.1:8000", &mail.url());
    let (before, after) = file.split_once("[listen]\n").unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    let keyward = Setup::new(&format!("{before}{after}")).with_api().start().await;
    let readme = example("README.md");
    let commands = commands(&readme);
    assert_eq!(commands.iter().filter(|line| line.starts_with("curl ")).count(), 6);
    let script = format!("set -euo pipefail\n{}\n", commands.join("\necho\n"));
    let run = Command::new("/bin/bash")
        .args(["-c", &script])
        .env("API", format!("http://{}", keyward.api))
        .env_remove("KEY")
        .env("no_proxy", "*")
        .output();
    let output = run.await.unwrap();
    let (said, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    let answers: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [touched, keys, problem] = &answers[..3] else { panic!("{said}") };
    assert_eq!(touched["sessions"], 0, "nobody was at the application yet");
    let shown = readme.split_once("    {\"cookies\"").unwrap().1;
    let shown = format!("{{\"cookies\"{}", shown.split("\n\n").next().unwrap());
    assert_eq!(fields(&keys.to_string()), fields(&shown));
    assert_eq!(keys["host"], "webmail.example.test");
    assert_eq!(problem["reason"], "revoked");
    assert!(said.contains("\"openapi\": \"3.1.0\""), "the description");
    assert_eq!((mail.logins("ana"), mail.attempts("ana")), (1, 1));
    assert_eq!(keyward.metric("keyward_api_calls_total{call=\"put_session\",outcome=\"done\"}").await, 1.0);
}
