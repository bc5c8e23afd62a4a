//! Changes of passwords.

use keyward::domain::Secret;
use keyward::portal::ldap::{Changed, Refusal};

use crate::liars::{Does, Liar, element, honest, message, result};
use crate::real::slapd::{ADMINISTRATOR, ADMINISTRATOR_PASSWORD, BASE, Options, READER, READER_PASSWORD, person_dn};
use crate::stage::{Stage, directory, user};

fn secret(text: &str) -> Secret {
    Secret::from(text)
}

#[tokio::test]
async fn whoever_knows_the_old_password_changes_it() {
    let stage = Stage::open().await;
    let mut old = "wonderland".to_owned();
    for (index, text) in [stage.search(), stage.template()].into_iter().enumerate() {
        let directory = directory(&text);
        let new = format!("  looking-glass & 50% {index}  ");
        for (name, shown, new, expected) in [
            ("alice", "wrong", &*new, Changed::WrongPassword),
            ("alice", "", &new, Changed::WrongPassword),
            ("alice", &old, "", Changed::Refused(Refusal::Quality)),
            ("alice", &old, "   ", Changed::Refused(Refusal::Quality)),
            ("*", &old, &new, if index == 0 { Changed::NoSuchPerson } else { Changed::WrongPassword }),
            ("", &old, &new, Changed::NoSuchPerson),
        ] {
            let outcome = directory.change_password(name, Some(&secret(shown)), &secret(new)).await;
            assert_eq!(outcome, Ok(expected), "{name} {shown}");
            assert!(stage.slapd.has_password(&person_dn("alice"), &old).await, "{name} {shown}");
        }
        let outcome = directory.change_password("ALICE", Some(&secret(&old)), &secret(&new)).await;
        assert_eq!(outcome, Ok(Changed::Done));
        assert!(stage.slapd.has_password(&person_dn("alice"), &new).await);
        assert_eq!(user(&directory, "alice", &old).await, Ok(None));
        assert_eq!(user(&directory, "alice", &new).await, Ok(Some("alice".to_owned())));
        assert_eq!(user(&directory, "bob", "builder").await, Ok(Some("bob".to_owned())));
        old = new;
    }
}

#[tokio::test]
async fn our_own_account_changes_it_where_the_directory_lets_it() {
    let stage = Stage::open().await;
    let reader = directory(&stage.search());
    let refused = reader.change_password("alice", None, &secret("looking-glass")).await;
    assert_eq!(refused, Ok(Changed::Refused(Refusal::NotAllowed)));
    let nobody = directory(&stage.template()).change_password("alice", None, &secret("looking-glass")).await;
    assert_eq!(nobody, Ok(Changed::Refused(Refusal::NotAllowed)), "nobody asks");
    assert!(stage.slapd.has_password(&person_dn("alice"), "wonderland").await);

    let text = stage.search().replace(READER, ADMINISTRATOR).replace(READER_PASSWORD, ADMINISTRATOR_PASSWORD);
    let administrator = directory(&text);
    assert_eq!(administrator.change_password("carol", None, &secret("new")).await, Ok(Changed::NoSuchPerson));
    assert_eq!(administrator.change_password("alice", None, &secret("looking-glass")).await, Ok(Changed::Done));
    assert!(stage.slapd.has_password(&person_dn("alice"), "looking-glass").await);
}

#[tokio::test]
async fn the_directorys_rules_for_passwords_count() {
    let stage = Stage::with(Options { policy: true, ..Options::default() }).await;
    let directory = directory(&stage.search());
    let old = secret("wonderland");
    let short = directory.change_password("alice", Some(&old), &secret("short")).await;
    assert_eq!(short, Ok(Changed::Refused(Refusal::Quality)));
    let long = directory.change_password("alice", Some(&old), &secret("long enough by far")).await;
    assert_eq!(long, Ok(Changed::Done));
}

#[tokio::test]
async fn a_password_that_must_be_changed_first_opens_nothing_until_it_was_changed() {
    let stage = Stage::with(Options { policy: true, ..Options::default() }).await;
    let policy = format!("dn: cn=policy,{BASE}\nchangetype: modify\nadd: pwdMustChange\npwdMustChange: TRUE\n");
    stage.slapd.modify(&policy).await.unwrap();
    let reset = format!("dn: {}\nchangetype: modify\nadd: pwdReset\npwdReset: TRUE\n", person_dn("bob"));
    for (index, text) in [stage.search(), stage.template()].into_iter().enumerate() {
        let directory = directory(&text);
        let (old, new) = match index {
            0 => ("builder", "can we fix it"),
            _ => ("can we fix it", "yes we can"),
        };
        assert!(user(&directory, "bob", old).await.unwrap().is_some());
        stage.slapd.modify(&reset).await.unwrap();
        assert_eq!(user(&directory, "bob", old).await, Ok(None), "{text}");
        assert_eq!(user(&directory, "bob", "wrong").await, Ok(None));
        let changed = directory.change_password("bob", Some(&secret(old)), &secret(new)).await;
        assert_eq!(changed, Ok(Changed::Done), "he may change it himself");
        assert!(user(&directory, "bob", new).await.unwrap().is_some(), "{text}");
    }
}

#[tokio::test]
async fn a_change_whose_end_nobody_saw_is_made_once_and_is_an_outage() {
    for (what, answer) in
        [("an end", Does::Ends(vec![])), ("silence", Does::Waits), ("garbage", Does::Says(vec![9; 9]))]
    {
        let script = move |id, operation| if operation == 0x77 { answer.clone() } else { honest(id, operation) };
        let (first, second) = (Liar::start(script).await, Liar::start(honest).await);
        let text = format!(
            "servers = [\"ldap://{}\", \"ldap://{}\"]\ndn = \"uid={{login}},dc=test\"\ntimeout = \"1s\"\n",
            first.address, second.address
        );
        let outcome = directory(&text).change_password("alice", Some(&secret("old")), &secret("new")).await;
        assert!(outcome.is_err(), "{what}: {outcome:?}");
        assert_eq!(second.connections.load(std::sync::atomic::Ordering::SeqCst), 0, "{what}");
    }
}

#[tokio::test]
async fn answers_to_a_change_are_told_apart() {
    for code in 0..=90_u8 {
        let script = move |id, operation| match operation {
            0x77 => Does::Says(message(id, 0x78, &[result(&[code]), element(0x8b, b"x")].concat())),
            _ => honest(id, operation),
        };
        let liar = Liar::start(script).await;
        let text = format!("servers = [\"ldap://{}\"]\ndn = \"uid={{login}},dc=test\"\n", liar.address);
        let outcome = directory(&text).change_password("alice", Some(&secret("old")), &secret("new")).await;
        let expected = match code {
            0 => Some(Changed::Done),
            2 => Some(Changed::Refused(Refusal::NotSupported)),
            19 => Some(Changed::Refused(Refusal::Quality)),
            32 => Some(Changed::NoSuchPerson),
            48 | 50 | 53 => Some(Changed::Refused(Refusal::NotAllowed)),
            49 => Some(Changed::WrongPassword),
            _ => None,
        };
        assert_eq!(outcome.clone().ok(), expected, "{code}: {outcome:?}");
    }
}
