//! Sessions that Keyward itself keeps for portals, and who guesses passwords: the same at every replica.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward::demo::process::Address;
use serde_json::json;

use crate::house::{HOST, House, Plan};
use crate::replica::Replica;
use crate::slapd::{self, Options, Slapd};
use crate::stores::Store;
use crate::support::{Answer, Ask, Connection, now, password_of, until};

pub const API_KEY: &str = "portal-key-of-thirty-two-bytes-and-more";

pub fn registered() -> String {
    format!(
        "[[api.key]]\ncaller = \"shop\"\nsecret = \"{API_KEY}\"\nportal = \"shop\"\n\
         [[portal]]\nname = \"shop\"\nkind = \"registered\"\ncookie = \"shop_session\"\n\
         login_url = \"https://portal.example.test/?next={{url}}\"\n\
         [[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"MAIL\"\n\
         [[route]]\nhost = \"{HOST}\"\nportal = \"shop\"\nbackend = \"mail\"\n"
    )
}

pub async fn call(replica: &Replica, method: &str, sid: &str, body: &str) -> u16 {
    let mut connection = Connection::open(&Address::Tcp(replica.api)).await;
    let head = format!(
        "{method} /v1/sessions/{sid} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {API_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(format!("{head}{body}")).await;
    connection.answer().await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_portal_tells_one_replica_all_of_them_know() {
    let store = Store::single().await;
    let mut house = House::start(&Plan { instead: Some(registered()), ..Plan::sharing(store.settings("")) }).await;
    house.store_is(true).await;
    let _mailbox = house.user("ana");
    let sid = "the-portals-own-name-of-it";
    let session = json!({ "user": "ana", "password": password_of("ana"), "expires": now() + 3600 });
    let status = call(&house.replicas[0], "PUT", sid, &session.to_string()).await;
    assert!([200, 201, 204].contains(&status), "{status}");
    let ask = Ask::get(format!("http://{HOST}/")).cookie(format!("shop_session={sid}"));
    let may = async |replica: &Replica| replica.ask(&ask).await.status == 200;
    for replica in &house.replicas {
        replica.ask(&ask).await.assert_allows("ana");
    }
    // Not even those who were told need to remember.
    for replica in &mut house.replicas {
        replica.kill().await;
    }
    for replica in &mut house.replicas {
        replica.start().await;
        replica.store_is(true).await;
        replica.ask(&ask).await.assert_allows("ana");
    }
    assert_eq!(house.mail.logins("ana"), 1);
    let status = call(&house.replicas[2], "DELETE", sid, "").await;
    assert!([200, 202, 204].contains(&status), "{status}");
    for replica in &house.replicas {
        until("the end everywhere", || async { !may(replica).await }).await;
    }
    until("the end at the mailbox server", || async { house.mail.sessions() == 0 }).await;
}

fn of_directory(slapd: &Slapd) -> String {
    let (url, base, reader, password) = (slapd.url(), slapd::BASE, slapd::READER, slapd::READER_PASSWORD);
    format!(
        "[[portal]]\nname = \"staff\"\nkind = \"ldap\"\nservers = [\"{url}\"]\nbase = \"ou=people,{base}\"\n\
         bind_dn = \"{reader}\"\nbind_password = \"{password}\"\nfilter = \"(&(objectClass=person)(uid={{login}}))\"\n\
         [[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"MAIL\"\n\
         [[route]]\nhost = \"{HOST}\"\npath = \"/dav\"\nportal = \"staff\"\nbackend = \"mail\"\nauthorization = true\n\
         [[route]]\nhost = \"{HOST}\"\nportal = \"staff\"\nbackend = \"mail\"\n"
    )
}

/// Sends a request as a browser of somebody there does.
async fn send(replica: &Replica, start: &str, from: &str, lines: &str, body: &str) -> Answer {
    let mut connection = replica.connect().await;
    let head = format!(
        "{start} HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: {HOST}\r\n\
         X-Forwarded-For: {from}\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\
         Origin: https://{HOST}\r\n{lines}Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(format!("{head}{body}")).await;
    connection.answer().await
}

fn cookies(answer: &Answer) -> Vec<String> {
    answer.all("Set-Cookie").iter().map(|line| line.split(';').next().unwrap().to_owned()).collect()
}

/// Signs in at one replica with the form of another.
async fn sign_in(form: &Replica, to: &Replica, from: &str, name: &str, password: &str) -> Answer {
    let page = send(form, &format!("GET /.keyward/login/staff?url=https://{HOST}/"), from, "", "").await;
    let text = page.text();
    let value = |before: &str| {
        let value = text.split_once(before).unwrap_or_else(|| panic!("{text}")).1.split('"').next().unwrap();
        value.replace("&amp;", "&").replace("&#39;", "'")
    };
    let token = value("name=\"form\" value=\"");
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    let body = body.append_pair("name", name).append_pair("password", password).append_pair("form", &token).finish();
    let jar = format!("Cookie: {}\r\n", cookies(&page).join("; "));
    let lines = format!("{jar}Content-Type: application/x-www-form-urlencoded\r\n");
    send(to, &format!("POST {}", value("<form method=\"post\" action=\"")), from, &lines, &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_a_directory_are_signed_in_at_all_replicas_and_guesses_at_all_of_them_count_together() {
    let folder = tempfile::tempdir().unwrap();
    let (ana, bob) = (password_of("ana"), password_of("bob"));
    let ldif = slapd::person("ana", &ana) + &slapd::person("bob", &bob);
    let slapd = Slapd::start(&folder.path().join("slapd"), Options { ldif, ..Options::default() }).await.unwrap();
    let store = Store::single().await;
    let plan = Plan { instead: Some(of_directory(&slapd)), ..Plan::sharing(store.settings("")) };
    let house = House::start(&plan).await;
    house.store_is(true).await;
    let _mailboxes = [house.user("ana"), house.user("bob")];
    let [one, two, three] = &house.replicas[..] else { panic!("three") };
    let answer = sign_in(one, two, "192.0.2.1", "ana", &ana).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let question = Ask::get(format!("https://{HOST}/")).cookie(cookies(&answer).join("; "));
    for replica in [three, one, two] {
        replica.ask(&question).await.assert_allows("ana");
    }
    assert_eq!(house.mail.logins("ana"), 1);
    // Five guesses, wherever they are made; the sixth has to wait, everywhere.
    let guess = async |replica: &Replica, guess: usize| {
        let token = STANDARD.encode(format!("bob:guess-{guess}"));
        let ask = Ask::get(format!("https://{HOST}/dav/x")).header("X-Forwarded-For", "198.51.100.66");
        replica.ask(&ask.header("Authorization", format!("Basic {token}"))).await.status
    };
    for (number, replica) in [one, two, three, one, two].into_iter().enumerate() {
        assert_eq!(guess(replica, number).await, 401);
    }
    for (number, replica) in [three, one, two].into_iter().enumerate() {
        assert_eq!(sign_in(replica, replica, "198.51.100.66", "bob", &format!("more-{number}")).await.status, 429);
    }
    assert_eq!(sign_in(three, one, "192.0.2.1", "bob", &bob).await.status, 303, "he himself is let in elsewhere");
    // Signed out at one, signed out at all.
    let jar = format!("Cookie: {}\r\n", cookies(&answer).join("; "));
    let out = send(three, "POST /.keyward/logout", "192.0.2.1", &jar, "").await;
    assert!(out.status < 400, "{out:?}");
    for replica in [one, two, three] {
        until("the end everywhere", || async { replica.ask(&question).await.status != 200 }).await;
    }
}
