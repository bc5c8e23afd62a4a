//! Who is who.

use std::time::Duration;

use keyward::portal::ldap::Directory;

use crate::real::slapd::{BASE, Options, Slapd, person, person_dn};
use crate::stage::{Stage, directory, people, searching, until, user};

#[tokio::test]
async fn people_come_in_by_a_search_and_by_a_template() {
    let stage = Stage::open().await;
    let account =
        searching().lines().filter(|line| line.starts_with("bind")).map(|line| format!("{line}\n")).collect::<String>();
    for text in [stage.search(), stage.template(), stage.template() + &account] {
        let directory = directory(&text);
        let member = directory.sign_in("alice", &"wonderland".into()).await.unwrap().unwrap();
        assert_eq!(member.dn, person_dn("alice"));
        let identity = member.identity;
        assert_eq!(
            (identity.user(), identity.name(), identity.email()),
            ("alice", "alice of Example", "alice@example.test")
        );
        for (name, password) in
            [("alice", "Wonderland"), ("alice", "builder"), ("bob", "wonderland"), ("carol", "wonderland")]
        {
            assert_eq!(user(&directory, name, password).await, Ok(None), "{name}");
        }
    }
}

#[tokio::test]
async fn every_spelling_that_the_directory_takes_is_one_person_and_one_spelling() {
    let stage = Stage::open().await;
    let (search, template) = (directory(&stage.search()), directory(&stage.template()));
    let mut found = 0;
    for name in
        ["alice", "ALICE", "Alice", " alice", "alice ", "\u{ff41}lice", "ＡＬＩＣＥ", "al\u{ad}ice", "a lice", "alíce"]
    {
        for directory in [&search, &template] {
            if let Some(user) = user(directory, name, "wonderland").await.unwrap() {
                assert_eq!(user, "alice", "{name}");
                assert_eq!(Directory::spelling(name).as_deref(), Some("alice"), "{name}");
                found += 1;
            }
        }
    }
    assert!(found >= 6, "{found}");
    assert_eq!(Directory::spelling("al\u{ad}ice"), None, "what nobody sees makes no new name");
}

#[tokio::test]
async fn a_name_is_a_value_and_nothing_else() {
    let odd = r"dn: uid=a\2cou\3dx,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: a,ou=x
cn: odd
sn: odd
userPassword: strange

dn: uid=\23h\2a(\5c)\2b,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: #h*(\)+
cn: odd
sn: odd
userPassword: strange

";
    let stage = Stage::with(Options { ldif: odd.to_owned(), ..Options::default() }).await;
    for directory in [directory(&stage.search()), directory(&stage.template())] {
        for name in
            ["*", "alice*", "a*", "*)(objectClass=*", "alice)(cn=*", "alice,ou=people", "alice\0", "#alice", r"alic\65"]
        {
            assert_eq!(user(&directory, name, "wonderland").await, Ok(None), "{name:?}");
        }
        for name in ["a,ou=x", r"#h*(\)+"] {
            assert_eq!(user(&directory, name, "strange").await, Ok(Some(name.to_owned())), "{name:?}");
            assert_eq!(user(&directory, name, "wonderland").await, Ok(None), "{name:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_password_reaches_no_server() {
    // This server would take a bind without a password for a success.
    let stage =
        Stage::with(Options { settings: "allow bind_anon_cred bind_anon_dn".to_owned(), ..Options::default() }).await;
    assert!(
        stage.slapd.has_password(&person_dn("alice"), "").await,
        "the server is not as careless as it was told to be"
    );
    let start = stage.slapd.log().len();
    for directory in [directory(&stage.search()), directory(&stage.template())] {
        for password in ["", " ", "   ", "\t", "\0", "wonderland\0", "\u{ad}", "\u{200b}\u{feff} "] {
            assert_eq!(user(&directory, "alice", password).await, Ok(None), "{password:?}");
        }
    }
    assert_eq!(stage.operations(start), Vec::<String>::new());
}

#[tokio::test]
async fn a_password_arrives_as_it_was_typed() {
    let passwords = ["a&b=c", "50% + #1", "\"quotes'", "zoë 李", " leading", "trailing ", "{SSHA}x", "*()\\"];
    let ldif: String = passwords
        .iter()
        .enumerate()
        .map(|(index, password)| {
            use base64::Engine;
            let coded = base64::engine::general_purpose::STANDARD.encode(password);
            person(&format!("p{index}"), "").replace("userPassword: ", &format!("userPassword:: {coded}"))
        })
        .collect();
    let stage = Stage::with(Options { ldif, ..Options::default() }).await;
    let directory = directory(&stage.search());
    for (index, password) in passwords.iter().enumerate() {
        // One that looks hashed to the server is none that anybody can type.
        let expected = (!password.starts_with('{')).then(|| format!("p{index}"));
        assert_eq!(user(&directory, &format!("p{index}"), password).await, Ok(expected), "{password}");
        assert_eq!(
            user(&directory, &format!("p{index}"), password.trim()).await.unwrap().is_some(),
            password.trim() == *password && !password.starts_with('{'),
            "{password}"
        );
    }
}

#[tokio::test]
async fn who_is_there_twice_or_without_a_name_of_their_own_is_nobody() {
    let base = format!("objectClass: inetOrgPerson\nsn: x\nuserPassword: same\nou=people,{BASE}");
    assert!(base.contains("same"));
    let entry = |rdn: &str, lines: &str| {
        format!("dn: {rdn},ou=people,{BASE}\nobjectClass: inetOrgPerson\nsn: x\nuserPassword: same\n{lines}\n\n")
    };
    let ldif = [
        entry("cn=one", "cn: one\nuid: twin\nmail: twin@example.test"),
        entry("cn=two", "cn: two\nuid: twin"),
        entry("cn=many", "cn: many\nuid: many\nuid: more\nmail: many@example.test"),
        entry("cn=none", "cn: none\nmail: none@example.test"),
        // A line break, and a byte that is no UTF-8 (in an attribute that may hold any).
        entry("cn=break", "cn: break\nuid:: YQpi\nmail: break@example.test"),
        entry("cn=bytes", "cn: bytes\nuid: bytes\njpegPhoto:: /w==\nmail: bytes@example.test"),
    ]
    .concat();
    let stage = Stage::with(Options { ldif, ..Options::default() }).await;
    let by_mail = stage.search() + "filter = \"(|(uid={login})(mail={login}))\"\n";
    let both = directory(&by_mail);
    for name in ["twin", "many", "more", "many@example.test", "none@example.test", "break@example.test"] {
        assert_eq!(user(&both, name, "same").await, Ok(None), "{name}");
    }
    assert_eq!(user(&both, "ALICE@example.TEST", "wonderland").await, Ok(Some("alice".to_owned())));
    assert_eq!(user(&both, "bytes@example.test", "same").await, Ok(Some("bytes".to_owned())));
    let photo = directory(&(by_mail + "[attributes]\nuser = \"jpegPhoto\"\n"));
    assert_eq!(user(&photo, "bytes@example.test", "same").await, Ok(None));
}

#[tokio::test]
async fn the_base_and_the_scope_bound_who_is_found() {
    let stage = Stage::open().await;
    for (base, scope, found) in
        [(BASE, "subtree", true), (BASE, "one", false), ("ou=people,dc=example,dc=test", "one", true)]
    {
        let text =
            stage.search().replace(&format!("base = \"{BASE}\""), &format!("base = \"{base}\"\nscope = \"{scope}\""));
        assert_eq!(user(&directory(&text), "alice", "wonderland").await.unwrap().is_some(), found, "{base} {scope}");
    }
    // A base that is not there, or not any more, says nothing of anybody.
    let text = stage.search().replace(&format!("base = \"{BASE}\""), &format!("base = \"ou=gone,{BASE}\""));
    let directory = directory(&text);
    assert!(user(&directory, "alice", "wonderland").await.is_err());
    assert!(directory.look_up("alice").await.is_err());
}

#[tokio::test]
async fn without_a_password_it_can_be_asked_who_is_still_there() {
    let stage = Stage::open().await;
    let search = directory(&stage.search());
    assert!(search.can_look_up());
    assert_eq!(search.look_up("Alice").await.unwrap().unwrap().identity.user(), "alice");
    stage.slapd.modify(&format!("dn: {}\nchangetype: delete\n", person_dn("alice"))).await.unwrap();
    assert_eq!(search.look_up("alice").await, Ok(None));
    let template = directory(&stage.template());
    assert!(!template.can_look_up() && template.look_up("bob").await.is_err(), "nobody may look there");
}

#[tokio::test]
async fn a_wrong_name_takes_the_same_steps_as_a_wrong_password() {
    let stage = Stage::open().await;
    for text in [stage.search(), stage.template()] {
        let directory = directory(&text);
        let before = stage.leaves();
        // So that a connection is kept. Each one's own ends, which the server may notice later.
        assert!(user(&directory, "alice", "wonderland").await.unwrap().is_some());
        let mut steps = Vec::new();
        let names = ["alice", "nobody", "bob", "*"];
        for (index, name) in names.into_iter().enumerate() {
            until(|| stage.leaves() == before + 1 + index).await;
            let start = stage.slapd.log().len();
            assert_eq!(user(&directory, name, "wrong").await, Ok(None));
            until(|| stage.leaves() == before + 2 + index).await;
            // The server's threads write down at once what it accepts and what leaves.
            let mut operations = stage.operations(start);
            operations.sort();
            steps.push(operations);
        }
        assert!(steps[0].iter().any(|step| step.starts_with("BIND")), "{steps:?}");
        assert!(steps.iter().all(|other| *other == steps[0]), "{steps:?}");
    }
}

#[tokio::test]
async fn an_entry_may_be_named_that_takes_as_long_to_refuse_a_password() {
    let stage = Stage::with(Options { ldif: person("decoy", "nobody knows it"), ..Options::default() }).await;
    let directory = directory(&format!("{}decoy_dn = \"{}\"\n", stage.search(), person_dn("decoy")));
    assert_eq!(user(&directory, "nobody", "wrong").await, Ok(None));
    assert!(stage.slapd.log().contains(&format!("BIND dn=\"{}\"", person_dn("decoy"))));
    // Even its password opens nothing to a name that is nobody's.
    assert_eq!(user(&directory, "nobody", "nobody knows it").await, Ok(None));
}

#[tokio::test]
async fn an_account_that_the_directory_bars_is_let_in_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let options = Options { ldif: people(), policy: true, ..Options::default() };
    let slapd = Slapd::start(home.path(), options).await.unwrap();
    let directory = directory(&format!("servers = [\"{}\"]\n{}", slapd.url(), searching()));
    assert!(user(&directory, "alice", "wonderland").await.unwrap().is_some());
    for _ in 0..crate::real::slapd::MOST_FAILURES {
        assert_eq!(user(&directory, "alice", "wrong").await, Ok(None));
    }
    assert_eq!(user(&directory, "alice", "wonderland").await, Ok(None), "locked");
    assert!(user(&directory, "bob", "builder").await.unwrap().is_some());
}

/// How often one of the first took longer than one of the others; a half where nobody can tell them apart. No
/// unit is in it, so that no machine is too slow.
fn share_of_longer(first: &[Duration], others: &[Duration]) -> f64 {
    let longer = first.iter().flat_map(|one| others.iter().filter(move |other| *other < one)).count();
    longer as f64 / (first.len() * others.len()) as f64
}

#[tokio::test]
async fn with_a_decoy_nobody_can_tell_by_the_time_who_is_there() {
    let argon2 =
        |name: &str| person(name, "").replace("userPassword: ", &format!("userPassword: {}", argon2("secret")));
    let ldif = argon2("slow") + &argon2("decoy");
    let stage = Stage::with(Options { ldif, ..Options::default() }).await;
    let without = directory(&stage.search());
    let with = directory(&format!("{}decoy_dn = \"{}\"\n", stage.search(), person_dn("decoy")));
    assert_eq!(user(&with, "slow", "secret").await, Ok(Some("slow".to_owned())));
    let mut shares = Vec::new();
    for (directory, rounds) in [(with, 25), (without, 10)] {
        let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            for (name, times) in [("slow", &mut wrong), ("nobody", &mut unknown)] {
                let begun = tokio::time::Instant::now();
                assert_eq!(user(&directory, name, "wrong").await, Ok(None));
                times.push(begun.elapsed());
            }
        }
        shares.push(share_of_longer(&wrong, &unknown));
    }
    assert!((0.15..0.85).contains(&shares[0]), "it takes another time: {shares:?}");
    assert!(shares[1] > 0.7, "the password is not slow to check, so that this says nothing: {shares:?}");
}

/// A password as OpenLDAP keeps it where it is to be slow to check.
fn argon2(password: &str) -> String {
    let program = keyward::demo::process::find_program("slappasswd").unwrap();
    let arguments =
        ["-o", "module-path=/usr/lib/ldap", "-o", "module-load=argon2 t=6 m=8192", "-h", "{ARGON2}", "-s", password];
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
