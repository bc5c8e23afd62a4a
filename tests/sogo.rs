//! The kind `sogo` against the real SOGo: what is peculiar to it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[path = "support/person.rs"]
mod person;
mod real;

use keyward::demo::Person;
use keyward::demo::process::Workspace;
use keyward::domain::Secret;
use real::sogo::{Options, Sogo};

#[tokio::test]
async fn timing() {
    let people: Vec<Person> = ["ana", "ben"]
        .map(|name| Person { name: name.to_owned(), password: Secret::from("pass"), subject: "hello".to_owned() })
        .to_vec();
    let workspace = Workspace::temporary().unwrap();
    let t = std::time::Instant::now();
    let sogo = Sogo::start(workspace.path(), &people, Options::default()).await.unwrap();
    eprintln!("start {:?}", t.elapsed());
    let c = 0;
    let t = std::time::Instant::now();
    let _ = c;
    let mut s = std::net::TcpStream::connect(sogo.address()).unwrap();
    use std::io::{Read, Write};
    s.write_all(b"GET /SOGo/ HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let mut v = Vec::new();
    s.read_to_end(&mut v).unwrap();
    eprintln!("first {:?} {}", t.elapsed(), v.len());
    let t = std::time::Instant::now();
    drop(sogo);
    eprintln!("stop {:?}", t.elapsed());
}
