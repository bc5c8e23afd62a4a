//! Nothing that is secret is ever written, however much is logged.

use std::io::Write;
use std::sync::Arc;

use keyward::domain::Secret;
use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use crate::liars::{Does, Liar, element, honest, message, result};
use crate::real::slapd::{ADMINISTRATOR, ADMINISTRATOR_PASSWORD, Options, READER, READER_PASSWORD};
use crate::stage::{Stage, directory, user};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_most_talkative_log_holds_no_password() {
    let written = Written::default();
    // For the libraries as well, and for every test that runs beside this one.
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(written.clone()).init();
    let stage = Stage::with(Options { policy: true, ..Options::default() }).await;
    let text = stage.search().replace(READER, ADMINISTRATOR).replace(READER_PASSWORD, ADMINISTRATOR_PASSWORD);
    let (reader, administrator) = (directory(&stage.search()), directory(&text));
    let (new, newer) = (Secret::from("looking-glass-1"), Secret::from("looking-glass-2"));
    assert!(user(&reader, "alice", "wonderland").await.unwrap().is_some());
    assert_eq!(user(&reader, "alice", "marked-as-wrong").await, Ok(None));
    assert_eq!(user(&reader, "marked-as-typed", "marked-as-wrong").await, Ok(None));
    assert!(reader.change_password("alice", Some(&Secret::from("wonderland")), &new).await.is_ok());
    assert!(administrator.change_password("alice", None, &newer).await.is_ok());
    for _ in 0..5 {
        assert_eq!(user(&reader, "bob", "marked-as-wrong").await, Ok(None));
    }
    // A server that says back what it was told, in every place where it can.
    let parrot = |id, operation| match operation {
        0x60 => {
            let said = [element(10, &[53]), element(4, b"marked-as-matched"), element(4, b"wonderland")].concat();
            Does::Says(message(id, 0x61, &said))
        }
        _ => honest(id, operation),
    };
    let parrot = Liar::start(parrot).await;
    let text = format!("servers = [\"ldap://{}\"]\ndn = \"uid={{login}},dc=test\"\n", parrot.address);
    assert_eq!(user(&directory(&text), "alice", "wonderland").await, Ok(None));
    let breaks = Liar::start(|id, operation| match operation {
        0x60 => Does::Says([message(id, 0x61, &result(&[1])), b"wonderland".to_vec()].concat()),
        _ => honest(id, operation),
    });
    let text = format!("servers = [\"ldap://{}\"]\n{}", breaks.await.address, crate::stage::searching());
    assert!(user(&directory(&text), "alice", "wonderland").await.is_err());

    let log = String::from_utf8(written.0.lock().clone()).unwrap();
    assert!(log.contains("the directory does not let somebody in, whatever the password"), "{log}");
    for secret in ["wonderland", "looking-glass", "marked-as", READER_PASSWORD, ADMINISTRATOR_PASSWORD] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
