//! The description of the API, held against the program by a tool that reads nothing else.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::fakes::axigen::{Axigen, Person};
use crate::house::{KEY, mailboxes};
use crate::support::{Setup, Sidecar};

/// Where `tests/run` puts it.
const SCHEMATHESIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/schemathesis/bin/schemathesis");
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/schemathesis.toml");
/// Far longer than it takes.
const DONE_WITHIN: Duration = Duration::from_secs(120);

fn config(mail: &Axigen) -> String {
    format!(
        "[[api.key]]\ncaller = \"tests\"\nsecret = \"{KEY}\"\n\
         [[portal]]\nname = \"shop\"\nkind = \"registered\"\ncookie = \"s\"\nlogin_url = \"https://p.test/\"\n\
         [[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"{}\"\n\
         [[route]]\nhost = \"mail.example.test\"\nportal = \"shop\"\nbackend = \"mail\"\n",
        mail.url()
    )
}

/// The description as it is served. No schema can say that `expires` lies in the future, so here it is a
/// number that does.
async fn description(keyward: &Sidecar) -> Value {
    let head = format!("GET /v1/openapi.json HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n\r\n");
    let mut description: Value = serde_json::from_slice(&keyward.call(head).await.body).unwrap();
    let expires = description.pointer_mut("/components/schemas/Session/properties/expires/minimum").unwrap();
    *expires = 4_102_444_800_u64.into();
    description
}

#[tokio::test]
async fn every_answer_to_whatever_is_asked_is_in_the_description() {
    assert!(std::path::Path::new(SCHEMATHESIS).exists(), "{SCHEMATHESIS} is missing; tests/run installs it");
    let mail = mailboxes().await;
    // The person in the description's own example.
    mail.add(Person::new("ana", "p&w #x", "Ana"));
    let keyward = Setup::new(&config(&mail)).with_api().start().await;
    let file = keyward.directory().join("openapi.json");
    std::fs::write(&file, description(&keyward).await.to_string()).unwrap();
    let mut said = String::new();
    // What a call hands on to the next may come from one that was wrong on purpose, so whether it should
    // have been accepted cannot be told of calls in a row.
    for arguments in [
        &["--phases", "examples,coverage,fuzzing"][..],
        &["--phases", "stateful", "--exclude-checks", "positive_data_acceptance"],
    ] {
        let run = Command::new(SCHEMATHESIS)
            .args(["--config-file", CONFIG, "--no-color", "run", file.to_str().unwrap(), "--checks", "all"])
            .args(["--url", &format!("http://{}", keyward.api), "--header", &format!("Authorization: Bearer {KEY}")])
            .args(arguments)
            .current_dir(keyward.directory())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", keyward.directory())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(DONE_WITHIN, run).await.expect("it ends in time").unwrap();
        said += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
        assert!(output.status.success(), "{said}");
    }
    // It is not done by doing nothing: every call was made, and with every kind of outcome that it can have here.
    for series in [
        "call=\"put_session\",outcome=\"done\"",
        "call=\"put_session\",outcome=\"malformed\"",
        "call=\"delete_session\",outcome=\"done\"",
        "call=\"touch_session\",outcome=\"done\"",
        "call=\"get_keys\",outcome=\"done\"",
        "call=\"get_keys\",outcome=\"refused\"",
        "call=\"get_description\",outcome=\"done\"",
        "call=\"put_session\",outcome=\"unauthorized\"",
    ] {
        let times = keyward.metric(&format!("keyward_api_calls_total{{{series}}}")).await;
        assert!(times > 0.0, "{series} never came\n{said}");
    }
    assert!(
        !keyward.metrics().await.lines().any(|line| line.contains("outcome=\"unavailable\"") && !line.ends_with(" 0"))
    );
}
