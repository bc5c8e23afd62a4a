//! The sign-in at the real Keycloak, with the realm of `examples/keycloak-openldap/`.

use keyward::demo::process::Workspace;
use serde_json::{Value, json};

use crate::WEBMAIL;
use crate::chromium::{Chromium, Person};
use crate::real::keycloak::Keycloak;
use crate::support::{password_of, until};
use crate::town::{Password, Town, Webmail};

/// The example's realm, whose people are its own instead of a directory's.
fn realm() -> Value {
    let mut realm: Value = serde_json::from_str(include_str!("../../examples/keycloak-openldap/realm.json")).unwrap();
    realm.as_object_mut().unwrap().remove("components");
    let users = realm["users"].as_array_mut().unwrap();
    users.extend(["alice", "bob"].map(|user| {
        json!({
            "username": user,
            "firstName": user,
            "lastName": "of Example",
            "email": format!("{user}@example.test"),
            "enabled": true,
            "credentials": [{"type": "password", "value": password_of(user)}],
            "realmRoles": ["mail"],
        })
    }));
    realm
}

fn portal(keycloak: &Keycloak) -> String {
    format!(
        "[[portal]]\nname = \"keycloak\"\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"keyward\"\n\
         client_secret = \"change me: the secret of the client keyward\"\n",
        keycloak.issuer("example")
    )
}

/// Fills in Keycloak's form and sends it.
async fn signs_in(person: &mut Person<'_>, user: &str, password: &str) {
    person.sees("Sign in to your account").await;
    person.fills("username", user).await;
    person.fills("password", password).await;
    person.run("document.querySelector('[type=submit]').click()").await;
}

#[tokio::test]
async fn keycloak_signs_people_in_to_their_mailbox_and_out_of_all_of_it() {
    let files = Workspace::temporary().unwrap();
    let nobody = files.write("nobody.pem", "").unwrap();
    let keycloak = Keycloak::start(files.directory("keycloak").unwrap().path(), &nobody, &[realm()]).await.unwrap();
    let town = Town::start(Webmail::Roundcube, Password::Derived, &portal(&keycloak)).await;
    let mut chromium = Chromium::start(&town.names, false).await;
    let mut alice = chromium.person().await;

    // The address where she wanted to go is where she ends.
    alice.open(&format!("{WEBMAIL}/?_task=mail&_mbox=INBOX")).await;
    let form = alice.sees("Sign in to your account").await;
    assert!(form.starts_with(&keycloak.url()), "{form}");
    signs_in(&mut alice, "alice", "wrong").await;
    alice.sees("Invalid username or password").await;
    signs_in(&mut alice, "alice", &password_of("alice")).await;
    let mailbox = alice.sees("Welcome, dear Alice").await;
    assert_eq!(mailbox, format!("{WEBMAIL}/?_task=mail&_mbox=INBOX"));
    let cookie = alice.cookie("webmail.example.test", "__Host-keyward-keycloak").await.unwrap();
    assert_eq!(
        (&cookie["httpOnly"], &cookie["secure"], &cookie["sameSite"]),
        (&json!(true), &json!(true), &json!("Lax"))
    );
    let left: Vec<Value> = alice
        .cookies()
        .await
        .into_iter()
        .filter(|cookie| cookie["name"].as_str().unwrap().contains("-flow-"))
        .collect();
    assert_eq!(left, [] as [Value; 0], "the sign-in is over");

    // Another tab is signed in already.
    let first = alice.another_tab().await;
    alice.open(WEBMAIL).await;
    alice.sees("Welcome, dear Alice").await;

    alice.open(&format!("{WEBMAIL}/?_task=logout")).await;
    let out = alice.sees("You are signed out").await;
    assert!(out.starts_with(WEBMAIL), "{out}");
    assert_eq!(alice.violations().await, [] as [&str; 0]);
    alice.open(WEBMAIL).await;
    assert!(
        alice.sees("Sign in to your account").await.starts_with(&keycloak.url()),
        "Keycloak's session has ended, too"
    );
    let second = alice.look_at(first);
    alice.reload().await;
    alice.sees("Sign in to your account").await;

    // Both tabs are on their way in at once: who has signed in in one goes on in the other.
    signs_in(&mut alice, "bob", &password_of("bob")).await;
    alice.sees("Welcome, dear Bob").await;
    alice.look_at(second);
    // Keycloak's form looks by itself whether somebody has signed in elsewhere, and may have gone on already.
    alice.reload().await;
    alice.sees("Welcome, dear Bob").await;
    until("the sign-out at the application", || async {
        town.keyward.metric("keyward_keys{backend=\"mail\"}").await <= 1.0
    })
    .await;
}
