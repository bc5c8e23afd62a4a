//! Passwords that are derived from a key: nobody types them, and keys can be exchanged.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use fakes::axigen::{Axigen, Person};
use keyward::domain::{DerivationKey, ExposeSecret, Secret};
use support::{APP_PORTAL, Ask, Door, House, Setup, Sidecar, Ticket};

const OLD: (&str, &str) = ("old", "an old secret, of more than thirty-two bytes");
const NEW: (&str, &str) = ("new", "a new secret, of more than thirty-two bytes");

fn password((id, secret): (&str, &str), login: &str) -> String {
    let key = DerivationKey::new(id, &Secret::from(secret)).unwrap();
    key.password(login).expose_secret().to_owned()
}

fn config(axigen: &str, keys: &[(&str, &str)], more: &str) -> String {
    let keys: String =
        keys.iter().map(|(id, secret)| format!("[[backend.derive]]\nid = {id:?}\nsecret = {secret:?}\n")).collect();
    let backend = format!(
        "[[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"{axigen}\"\ncredentials = \"derived\"\n{more}\n{keys}"
    );
    let route = "[[route]]\nhost = \"app.example.test\"\nportal = \"office\"\nbackend = \"mail\"\n";
    let portal = House::config("http://127.0.0.1:1", "http://127.0.0.1:1", "", "");
    let portal = &portal[..portal.find("[[backend]]").unwrap()];
    format!("{portal}{backend}{route}")
}

async fn ask(keyward: &Sidecar, user: &str) -> u16 {
    let cookie = Ticket::of(user).portal(APP_PORTAL).without_password().cookie();
    keyward.ask(Door::AuthRequest, &Ask::get("https://app.example.test/").cookie(cookie)).await.status
}

#[tokio::test]
async fn nobody_needs_to_know_the_password() {
    let axigen = Axigen::start(vec![Person::new("ana", &password(NEW, "ana"), "Ana")]).await.unwrap();
    axigen.add(Person::new("ben", &password(NEW, "ana"), "Ben"));
    let keyward = Setup::new(&config(&axigen.url(), &[NEW], "")).start().await;
    assert_eq!(ask(&keyward, "ana").await, 200);
    assert_eq!(ask(&keyward, "ben").await, 403, "a password is its owner's alone");
}

#[tokio::test]
async fn while_keys_are_exchanged_everybody_gets_in_and_no_wrong_password_is_tried_twice() {
    let axigen = Axigen::start(vec![Person::new("ana", &password(NEW, "ana"), "Ana")]).await.unwrap();
    axigen.add(Person::new("ben", &password(OLD, "ben"), "Ben"));
    axigen.add(Person::new("cleo", "something else", "Cleo"));
    let keyward = Setup::new(&config(&axigen.url(), &[NEW, OLD], "")).start().await;
    for (user, status, attempts) in [
        ("ana", 200, 1),
        ("ben", 200, 2),
        // What worked is tried first, for every session.
        ("ben", 200, 3),
        ("cleo", 403, 2),
        ("cleo", 403, 2),
    ] {
        assert_eq!(ask(&keyward, user).await, status, "{user}");
        assert_eq!(axigen.attempts(user), attempts, "{user}");
    }
    let many = (0..20).map(|_| ask(&keyward, "cleo"));
    assert!(futures_util::future::join_all(many).await.into_iter().all(|status| status == 403));
    assert_eq!(axigen.attempts("cleo"), 2, "a herd is one person");
}

#[tokio::test]
async fn a_new_key_costs_nobody_a_wrong_password_until_theirs_is_changed() {
    let axigen = Axigen::start(vec![Person::new("ana", &password(OLD, "ana"), "Ana")]).await.unwrap();
    let keyward = Setup::new(&config(&axigen.url(), &[OLD], "")).start().await;
    assert_eq!(ask(&keyward, "ana").await, 200);
    keyward.rewrite(&config(&axigen.url(), &[NEW, OLD], ""));
    keyward.reload("applied").await;
    assert_eq!((ask(&keyward, "ana").await, axigen.attempts("ana")), (200, 2));
    axigen.mailboxes().lock().unwrap()[0].password = password(NEW, "ana");
    assert_eq!((ask(&keyward, "ana").await, axigen.attempts("ana")), (200, 4), "the old one, then the new one");
    assert_eq!((ask(&keyward, "ana").await, axigen.attempts("ana")), (200, 5));
    keyward.rewrite(&config(&axigen.url(), &[NEW], ""));
    keyward.reload("applied").await;
    assert_eq!((ask(&keyward, "ana").await, axigen.attempts("ana")), (200, 6));
}

#[tokio::test]
async fn an_outage_is_no_reason_to_try_another_key() {
    let axigen = Axigen::start(vec![Person::new("ana", &password(OLD, "ana"), "Ana")]).await.unwrap();
    axigen.misbehave(Some(fakes::server::Fault::CloseAtOnce));
    let keyward = Setup::new(&config(&axigen.url(), &[NEW, OLD], "")).start().await;
    assert_eq!(ask(&keyward, "ana").await, 503);
    assert_eq!(axigen.requests().len(), 1);
}

fn derive(config: &str, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyward.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    command.args(["derive", "-c", file.to_str().unwrap()]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who does not read it may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_provisioning_side_is_told_the_same_passwords() {
    let config = config("http://127.0.0.1:1", &[NEW, OLD], "");
    let ana = format!("{}\n", password(NEW, "ana"));
    assert_eq!(derive(&config, &["--backend", "mail", "ana"], ""), (Some(0), ana, String::new()));
    let old = format!("{}\n", password(OLD, "ana"));
    assert_eq!(derive(&config, &["--backend", "mail", "--key", "old", "ana"], ""), (Some(0), old, String::new()));
    let both = format!("ana\t{}\nzoë x\t{}\n", password(NEW, "ana"), password(NEW, "zoë x"));
    assert_eq!(derive(&config, &["--backend", "mail"], "ana\r\nzoë x\n"), (Some(0), both, String::new()));
}

#[test]
fn what_cannot_be_derived_is_said_and_not_printed() {
    let config = config("http://127.0.0.1:1", &[NEW], "");
    let portal = config.replace("\"derived\"", "\"portal\"");
    for (config, arguments, input, said) in [
        (&config, vec!["--backend", "post", "ana"], "", "has no back-end \"post\"; there is mail"),
        (&config, vec!["--backend", "mail", "--key", "old", "ana"], "", "there is new"),
        (&config, vec!["--backend", "mail", " ana"], "", "blank"),
        (&config, vec!["--backend", "mail"], "ana\n\nben\n", "line 2"),
        (&portal, vec!["--backend", "mail", "ana"], "", "does not have credentials"),
    ] {
        let (code, _, errors) = derive(config, &arguments, input);
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(errors.contains(said), "{errors}");
        assert!(!errors.contains(NEW.1), "{errors}");
    }
}
