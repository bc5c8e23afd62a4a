//! The real servers that the demo and other tests start: do they work, and do they end?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use keyward::demo::Person;
use keyward::demo::process::{Process, Workspace};
use keyward::demo::roundcube::{Roundcube, RoundcubeOptions};

fn person(name: &str, password: &str) -> Person {
    Person { name: name.to_owned(), password: password.into(), subject: format!("Hello {name}") }
}

/// Signs in by IMAP with the password as a literal, which carries any byte, and reads the subject.
fn subject(imap: SocketAddr, name: &str, password: &str) -> Option<String> {
    let mut stream = TcpStream::connect(imap).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let mut say = |text: &str| stream.write_all(text.as_bytes()).unwrap();
    say(&format!("a LOGIN {name} {{{}+}}\r\n{password}\r\n", password.len()));
    if !lines.find(|line| line.as_ref().unwrap().starts_with("a ")).unwrap().unwrap().starts_with("a OK") {
        return None;
    }
    say("b SELECT INBOX\r\nc FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]\r\n");
    lines.map(Result::unwrap).find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned))
}

/// Signs in with Roundcube's form; the page with the messages, if it comes.
async fn sign_in(url: &str, name: &str, password: &str) -> (u16, Vec<String>) {
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let login = format!("{url}/?_task=login");
    let page = client.get(&login).send().await.unwrap();
    let cookie = page.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = page.text().await.unwrap();
    let token = page.split("name=\"_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let form = format!("_token={token}&_task=login&_action=login&_user={name}&_pass={}", encode(password));
    let request = client.post(&login).header("Cookie", cookie).body(form);
    let answer = request.header("Content-Type", "application/x-www-form-urlencoded").send().await.unwrap();
    let cookies = answer.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned());
    (answer.status().as_u16(), cookies.collect())
}

#[tokio::test]
async fn a_real_roundcube_takes_every_password_and_shows_everybody_their_own_mail() {
    let passwords = ["plain", "a&b=c: {x}\\ \"quoted\" 50% + #1", "żółw 🐢", " leading"];
    let people: Vec<Person> =
        passwords.iter().enumerate().map(|(index, password)| person(&format!("user{index}"), password)).collect();
    let directory = tempfile::tempdir().unwrap();
    let mut roundcube = Roundcube::start(directory.path(), &people, &RoundcubeOptions::default()).await.unwrap();
    for (index, password) in passwords.iter().enumerate() {
        let name = format!("user{index}");
        assert_eq!(subject(roundcube.imap(), &name, password), Some(format!("Hello {name}")), "{password}");
        let (status, cookies) = sign_in(&roundcube.url(), &name, password).await;
        assert_eq!(status, 302, "{password}");
        assert!(cookies.last().unwrap().starts_with("roundcube_sessauth="), "{cookies:?}");
    }
    assert_eq!(sign_in(&roundcube.url(), "user0", "wrong").await.0, 401);
    assert_eq!(subject(roundcube.imap(), "user0", "plain"), Some("Hello user0".to_owned()), "no penalty for others");
    roundcube.check().unwrap();
    let (url, imap) = (roundcube.url(), roundcube.imap());
    drop(roundcube);
    assert!(TcpStream::connect(imap).is_err(), "Dovecot ended");
    assert!(TcpStream::connect(url.strip_prefix("http://").unwrap()).is_err(), "nginx ended");
}

#[tokio::test]
async fn two_hundred_people_have_mailboxes() {
    let people: Vec<Person> = (0..220).map(|index| person(&format!("user{index}@example.test"), "pass")).collect();
    let directory = tempfile::tempdir().unwrap();
    let roundcube = Roundcube::start(directory.path(), &people, &RoundcubeOptions::default()).await.unwrap();
    for index in [0, 100, 219] {
        let name = format!("user{index}@example.test");
        assert_eq!(subject(roundcube.imap(), &name, "pass"), Some(format!("Hello {name}")));
    }
}

#[tokio::test]
async fn a_server_that_dies_is_named_with_the_end_of_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let workspace = Workspace::at(directory.path()).unwrap();
    let shell = std::path::Path::new("/bin/sh");
    let mut process = Process::start("broken", shell, &["-c", "echo no such thing >&2; exit 3"], &workspace).unwrap();
    let nobody = keyward::demo::process::free_address().unwrap();
    let error = process.ready(&keyward::demo::process::Address::Tcp(nobody)).await.unwrap_err().to_string();
    assert!(error.starts_with("broken ended by itself; it said last:\n"), "{error}");
    assert!(error.ends_with(":\nno such thing"), "{error}");
}
