//! Which roles people have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward::domain::Outage;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::real::slapd::{BASE, Options, group, group_dn, person, person_dn};
use crate::stage::{Stage, directory, roles};

const BELOW: &str = "group_base = \"ou=groups,dc=example,dc=test\"\n";

async fn roles_of(stage: &Stage, text: &str, name: &str, password: &str) -> Result<Vec<String>, Outage> {
    let member = directory(text).sign_in(name, &password.into()).await?.expect("the password is right");
    let looked_up = directory(text);
    if looked_up.can_look_up() {
        assert_eq!(looked_up.look_up(name).await.unwrap().unwrap(), member, "{}", stage.slapd.url());
    }
    Ok(roles(&member))
}

#[tokio::test]
async fn roles_are_the_names_of_groups() {
    let stage = Stage::open().await;
    for text in [stage.search(), stage.template()] {
        for (more, alice, bob) in [
            ("".to_owned(), vec![], vec![]),
            (BELOW.to_owned(), vec!["staff"], vec!["all"]),
            (format!("{BELOW}nested_groups = true\n"), vec!["all", "staff"], vec!["all"]),
            (format!("{BELOW}group_filter = \"(&(cn=s*)(member={{dn}}))\"\n"), vec!["staff"], vec![]),
            (format!("{BELOW}[attributes]\ngroups = \"memberOf\"\n"), vec!["staff"], vec!["all"]),
            ("[attributes]\ngroups = \"cn\"\n".to_owned(), vec!["alice of Example"], vec!["bob of Example"]),
            (format!("{BELOW}group_name = \"ou\"\n"), vec![], vec![]),
        ] {
            let text = format!("{text}{more}");
            assert_eq!(roles_of(&stage, &text, "alice", "wonderland").await.unwrap(), alice, "{text}");
            assert_eq!(roles_of(&stage, &text, "bob", "builder").await.unwrap(), bob, "{text}");
        }
    }
}

#[tokio::test]
async fn a_role_is_gone_as_soon_as_the_membership_is() {
    let stage = Stage::open().await;
    let directory = directory(&format!("{}{BELOW}", stage.search()));
    assert_eq!(roles(&directory.look_up("alice").await.unwrap().unwrap()), ["staff"]);
    let change =
        format!("dn: {}\nchangetype: modify\nreplace: member\nmember: {}\n", group_dn("staff"), person_dn("bob"));
    stage.slapd.modify(&change).await.unwrap();
    assert_eq!(roles(&directory.look_up("alice").await.unwrap().unwrap()), Vec::<String>::new());
    assert_eq!(roles(&directory.look_up("bob").await.unwrap().unwrap()), ["all", "staff"]);
}

#[tokio::test]
async fn only_groups_below_the_base_count_whatever_they_are_called() {
    // Somebody who may make a group in a corner of their own makes one called admin.
    let corner = format!(
        "dn: ou=corner,{BASE}\nobjectClass: organizationalUnit\nou: corner\n\n\
         dn: cn=admin,ou=corner,{BASE}\nobjectClass: groupOfNames\ncn: admin\nmember: {0}\n\n\
         dn: cn=ou\\=groups\\,x,ou=corner,{BASE}\nobjectClass: groupOfNames\ncn: ou=groups,x\nmember: {0}\n\n",
        person_dn("alice")
    );
    let stage = Stage::with(Options { ldif: corner, ..Options::default() }).await;
    for more in ["", "nested_groups = true\n", "[attributes]\ngroups = \"memberOf\"\n"] {
        let text = format!("{}{BELOW}{more}", stage.search());
        let roles = roles_of(&stage, &text, "alice", "wonderland").await.unwrap();
        assert!(!roles.contains(&"admin".to_owned()) && roles.contains(&"staff".to_owned()), "{roles:?}");
    }
}

#[tokio::test]
async fn groups_that_stand_in_one_another_in_a_ring_end_somewhere() {
    let ring = group("one", &[person_dn("alice"), group_dn("three")])
        + &group("two", &[group_dn("one"), group_dn("two")])
        + &group("three", &[group_dn("two")]);
    let chain: String = (0..20)
        .map(|index| {
            let member = if index == 0 { person_dn("carol") } else { group_dn(&format!("c{}", index - 1)) };
            group(&format!("c{index}"), &[member])
        })
        .collect();
    let ldif = person("carol", "sesame") + &ring + &chain;
    let stage = Stage::with(Options { ldif, ..Options::default() }).await;
    let text = format!("{}{BELOW}nested_groups = true\n", stage.search());
    let roles = roles_of(&stage, &text, "alice", "wonderland").await.unwrap();
    assert_eq!(roles, ["all", "one", "staff", "three", "two"]);
    let outcome = directory(&text).sign_in("carol", &"sesame".into()).await;
    assert!(matches!(outcome, Err(Outage::Protocol(_))), "nobody knows all of them: {outcome:?}");
}

#[tokio::test]
async fn a_name_that_is_a_filter_in_itself_asks_for_its_own_groups() {
    let dn = format!("cn=x\\2a)(cn=\\2a,ou=people,{BASE}");
    let ldif = format!(
        "dn: {dn}\nobjectClass: inetOrgPerson\ncn: x*)(cn=*\nsn: x\nuid: star\nuserPassword: sesame\n\n{}",
        group("stars", std::slice::from_ref(&dn))
    );
    let stage = Stage::with(Options { ldif, ..Options::default() }).await;
    for nested in [true, false] {
        let text = format!("{}{BELOW}nested_groups = {nested}\n", stage.search());
        assert_eq!(roles_of(&stage, &text, "star", "sesame").await.unwrap(), ["stars"]);
    }
}

#[tokio::test]
async fn what_cannot_be_a_role_is_none_and_too_many_are_an_outage() {
    let odd = format!(
        "dn: cn=a\\0ab,ou=groups,{BASE}\nobjectClass: groupOfNames\ncn:: YQpi\nmember: {0}\n\n\
         dn: cn=two,ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: two\ncn: admin\nmember: {0}\n\n",
        person_dn("alice")
    );
    let many: String = (0..257).map(|index| group(&format!("g{index}"), &[person_dn("bob")])).collect();
    let stage = Stage::with(Options { ldif: odd + &many, ..Options::default() }).await;
    for more in ["", "nested_groups = true\n"] {
        let text = format!("{}{BELOW}{more}", stage.search());
        let roles = roles_of(&stage, &text, "alice", "wonderland").await.unwrap();
        assert!(!roles.iter().any(|role| role.contains('\n') || role == "admin" || role == "two"), "{roles:?}");
        assert!(roles.contains(&"staff".to_owned()));
        let outcome = directory(&text).sign_in("bob", &"builder".into()).await;
        assert!(matches!(outcome, Err(Outage::Protocol(_))), "{outcome:?}");
    }
}

/// Passes on what a real server says, but claims to be one that follows chains of groups, and notes what it was
/// asked.
#[tokio::test]
async fn a_server_that_follows_chains_is_asked_to() {
    let stage = Stage::open().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap(), stage.slapd.address());
    let (asked, claims) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(true)));
    let (seen, does) = (Arc::clone(&asked), Arc::clone(&claims));
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = listener.accept().await {
            let (seen, does) = (Arc::clone(&seen), Arc::clone(&does));
            tokio::spawn(async move {
                let mut outside = tokio::net::TcpStream::connect(server).await.unwrap();
                let mut question = vec![0; 65536];
                let mut answer = vec![0; 65536];
                loop {
                    tokio::select! {
                        Ok(count @ 1..) = inside.read(&mut question) => {
                            let bytes = &question[..count];
                            seen.lock().push(bytes.to_vec());
                            let text = String::from_utf8_lossy(bytes);
                            if text.contains("supportedCapabilities") && does.load(Ordering::SeqCst) {
                                let id = bytes[bytes.iter().position(|byte| *byte == 2).unwrap() + 2];
                                inside.write_all(&capabilities(id)).await.unwrap();
                            } else {
                                outside.write_all(bytes).await.unwrap();
                            }
                        }
                        Ok(count @ 1..) = outside.read(&mut answer) => {
                            inside.write_all(&answer[..count]).await.unwrap();
                        }
                        else => return,
                    }
                }
            });
        }
    });
    let text = format!("{}{BELOW}nested_groups = true\n", stage.search());
    let text = text.replace(&stage.slapd.url(), &format!("ldap://{address}"));
    let rule = "1.2.840.113556.1.4.1941";
    let has_rule = || asked.lock().iter().any(|bytes| String::from_utf8_lossy(bytes).contains(rule));
    let member = directory(&text).sign_in("alice", &"wonderland".into()).await.unwrap().unwrap();
    assert!(has_rule(), "it was not asked to follow");
    assert_eq!(roles(&member), Vec::<String>::new(), "a server without the rule finds nothing, and says no word");
    asked.lock().clear();
    claims.store(false, Ordering::SeqCst);
    let member = directory(&text).sign_in("alice", &"wonderland".into()).await.unwrap().unwrap();
    assert!(!has_rule());
    assert_eq!(roles(&member), ["all", "staff"]);
}

fn capabilities(id: u8) -> Vec<u8> {
    use crate::liars::{element, message, result};
    let attribute = [element(4, b"supportedCapabilities"), element(0x31, &element(4, b"1.2.840.113556.1.4.800"))];
    let content = [element(4, b""), element(0x30, &element(0x30, &attribute.concat()))];
    [message(id, 0x64, &content.concat()), message(id, 0x65, &result(&[0]))].concat()
}
