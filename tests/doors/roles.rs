//! One word for a role, from the portal to the application.

use serde_json::{Value, json};

use crate::support::{APP_PORTAL, Answer, Ask, Door, Setup, Sidecar, Ticket, mailboxes, now, password_of};

const GROUP: &str = "cn=Büro Nord,ou=groups,dc=example,dc=test";
const API_KEY: &str = "00112233445566778899aabbccddeeff";

/// A portal that signs its words, and one that tells of them, where they may be anything.
fn config(mail: &str, roles: &str) -> String {
    let (cookie, id, secret) = (APP_PORTAL.cookie, APP_PORTAL.id, APP_PORTAL.secret);
    let route = |host: &str, path: &str, portal: &str, rest: &str| {
        format!("[[route]]\nhost = \"{host}.example.test\"\npath = \"{path}\"\nportal = \"{portal}\"\n{rest}\n")
    };
    [
        format!("[[api.key]]\ncaller = \"told\"\nsecret = \"{API_KEY}\"\nportal = \"told\"\n"),
        format!(
            "[[portal]]\nname = \"office\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\nlogin_url = \"https://o.test/\"\n\
             [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n{roles}\n"
        ),
        format!(
            "[[portal]]\nname = \"told\"\nkind = \"registered\"\ncookie = \"told\"\nlogin_url = \"https://t.test/\"\n\
             {roles}\n"
        ),
        format!(
            "[[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"{mail}\"\n[backend.roles]\nstaff = \"Mitarbeiter\"\n\
             north = [\"Mitarbeiter\", \"Nord\"]\n"
        ),
        route("app", "/admin", "office", "roles = [\"admin\"]\nbackend = \"mail\""),
        route("app", "/", "office", "backend = \"mail\""),
        route("gate", "/admin", "office", "roles = [\"admin\"]"),
        route("gate", "/", "office", ""),
        route("told", "/admin", "told", "roles = [\"admin\"]"),
        route("told", "/", "told", ""),
    ]
    .concat()
}

const MAP: &str = "[portal.roles]\n\"realm.admin\" = \"admin\"\n\"cn=Büro Nord,ou=groups,dc=example,dc=test\" = \
                   [\"north\", \"staff\"]\n\"Büro\" = \"staff\"\n\"Außendienst\" = \"staff\"\n";

async fn ask(keyward: &Sidecar, host: &str, path: &str, cookie: &str) -> Answer {
    keyward.ask(Door::AuthRequest, &Ask::get(format!("https://{host}.example.test{path}")).cookie(cookie)).await
}

#[tokio::test]
async fn a_portals_words_become_ours_for_routes_headers_people_and_back_ends() {
    let mail = mailboxes().await;
    let keyward = Setup::new(&config(&mail.url(), MAP)).with_api().start().await;
    for (theirs, ours, there, is_admin) in [
        (&["realm.admin", "Büro"][..], "admin,staff", "Mitarbeiter", true),
        (&["Außendienst", "Büro"], "staff", "Mitarbeiter", false),
        // Our own words are nothing that this portal says.
        (&["admin", "staff"], "", "", false),
        (&["realm", "REALM.ADMIN", "realm.administrator"], "", "", false),
        (&[], "", "", false),
    ] {
        let cookie = Ticket::of("alice").roles(theirs).cookie();
        let app = ask(&keyward, "app", "/", &cookie).await;
        assert_eq!(app.assert_allows("alice").one("Remote-Groups"), there, "{theirs:?}");
        let gate = ask(&keyward, "gate", "/", &cookie).await;
        assert_eq!(gate.assert_allows("alice").one("Remote-Groups"), ours, "{theirs:?}");
        for host in ["app", "gate"] {
            let admin = ask(&keyward, host, "/admin", &cookie).await;
            match is_admin {
                true => drop(admin.assert_allows("alice")),
                false => assert_eq!(admin.assert_refuses().reason(), "role", "{theirs:?}"),
            }
        }
        let whoami = keyward.get("/.keyward/whoami", &[&format!("Cookie: {cookie}")]).await;
        let person: Value = serde_json::from_slice(&whoami.body).unwrap();
        let groups: Vec<&str> = ours.split(',').filter(|role| !role.is_empty()).collect();
        assert_eq!(person["groups"], json!(groups), "{theirs:?}");
    }
}

#[tokio::test]
async fn a_word_may_be_anything_that_a_directory_calls_a_group() {
    let mail = mailboxes().await;
    let keyward = Setup::new(&config(&mail.url(), MAP)).with_api().start().await;
    let tell = async |sid: &str, roles: &[&str]| {
        let session =
            json!({ "user": "alice", "password": password_of("alice"), "expires": now() + 600, "roles": roles });
        let session = session.to_string();
        let head = format!(
            "PUT /v1/sessions/{sid} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {API_KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{session}",
            session.len()
        );
        keyward.call(head).await.status
    };
    assert_eq!(tell("session-of-the-north", &[GROUP, "realm.admin"]).await, 201);
    let answer = ask(&keyward, "told", "/", "told=session-of-the-north").await;
    assert_eq!(answer.assert_allows("alice").one("Remote-Groups"), "north,staff,admin");
    ask(&keyward, "told", "/admin", "told=session-of-the-north").await.assert_allows("alice");
    assert_eq!(
        tell("session-with-a-comma", &["x,admin", "plain"]).await,
        201,
        "the map leaves out what it does not name"
    );
    // Without a map a comma would make two of one, and one of them ours.
    keyward.rewrite(&config(&mail.url(), ""));
    keyward.reload("applied").await;
    let answer = ask(&keyward, "told", "/", "told=session-with-a-comma").await;
    assert_eq!(answer.assert_allows("alice").one("Remote-Groups"), "plain");
    assert_eq!(ask(&keyward, "told", "/admin", "told=session-with-a-comma").await.reason(), "role");
    assert_eq!(tell("another-with-a-comma", &["x,admin", "plain"]).await, 422, "and the portal is told so");
}

#[tokio::test]
async fn a_changed_map_counts_from_the_reload_on_for_sessions_that_go_on() {
    let mail = mailboxes().await;
    let keyward = Setup::new(&config(&mail.url(), MAP)).with_api().start().await;
    let cookie = Ticket::of("alice").roles(&["realm.admin"]).cookie();
    ask(&keyward, "app", "/admin", &cookie).await.assert_allows("alice");
    for (map, is_admin) in [("[portal.roles]\n\"realm.admin\" = \"staff\"\n", false), ("", false), (MAP, true)] {
        keyward.rewrite(&config(&mail.url(), map));
        keyward.reload("applied").await;
        let answer = ask(&keyward, "app", "/admin", &cookie).await;
        assert_eq!(answer.status == 200, is_admin, "{map}: {answer:?}");
    }
    assert_eq!(mail.logins("alice"), 1, "the session at the application goes on");
}
