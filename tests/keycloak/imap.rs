//! The other half of one set of credentials: a real Dovecot asks the same directory, by the example's file.

use std::net::SocketAddr;

use keyward::demo::process::{Address, Process, TemporaryWorkspace, Workspace, find_program, free_address};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::browser::Browser;
use crate::example::{self, dn, password};
use crate::real::slapd::Slapd;
use crate::stage::Stage;

/// A Dovecot for one account without rights, whose users are to be found elsewhere.
const DOVECOT: &str = include_str!("../../src/demo/templates/dovecot-2.3.conf");

struct Imap {
    address: SocketAddr,
    _process: Process,
    _home: TemporaryWorkspace,
}

impl Imap {
    async fn start(directory: &Slapd) -> Self {
        let home = Workspace::temporary().unwrap();
        let ldap = example::dovecot(&directory.tls_url(), &directory.authority());
        let ldap = home.write("dovecot-ldap.conf.ext", &ldap).unwrap();
        let (address, account) = (free_address().unwrap(), home.account());
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let configuration = example::with(
            DOVECOT,
            &[
                ("driver = passwd-file", "driver = ldap"),
                ("args = username_format=%u @DIRECTORY@/users", &format!("args = {}", ldap.display())),
                ("@DIRECTORY@", &home.path().to_string_lossy()),
                ("@USER@", &account.user),
                ("@GROUP@", &account.group),
                ("@IP@", &ip),
                ("@PORT@", &port),
                ("@MASTER@", ""),
            ],
        );
        let configuration = home.write("dovecot.conf", &configuration).unwrap();
        let program = find_program("dovecot").expect("Dovecot is installed; tests/run does it");
        let arguments = ["-F", "-c", &configuration.to_string_lossy()];
        let mut process = Process::start("dovecot", &program, &arguments, &home).unwrap();
        process.ready(&Address::Tcp(address)).await.unwrap();
        Self { address, _process: process, _home: home }
    }

    /// Whether it lets somebody in.
    async fn knows(&self, name: &str, password: &str) -> bool {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await.unwrap());
        stream.write_all(format!("a LOGIN \"{name}\" \"{password}\"\r\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        while !line.starts_with("a ") {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "it hung up on {name}");
        }
        assert!(!line.contains("[UNAVAILABLE]"), "it cannot ask: {line}");
        line.starts_with("a OK ")
    }
}

/// Whether Keycloak lets somebody in, and Keyward to the mailbox.
async fn web_knows(stage: &Stage, name: &str, password: &str) -> bool {
    let mut browser = Browser::new(&stage.keyward);
    let page = browser.open("/").await;
    let page = browser.sign_in(&page, name, password).await;
    assert!(page.asks_for_password() || page.answer.status == 200, "{}: {:?}", page.url, page.answer);
    !page.asks_for_password()
}

#[tokio::test]
async fn one_password_opens_webmail_and_imap_and_is_changed_for_both_at_once() {
    let stage = Stage::start().await;
    let imap = Imap::start(stage.directory()).await;
    let name = stage.person(&["mail-users"]).await;
    let (address, old) = (format!("{name}@example.test"), password(&name));
    assert!(imap.knows(&address, &old).await && imap.knows(&name, &old).await);
    assert!(web_knows(&stage, &name, &old).await);
    assert!(!imap.knows(&address, "a wrong one").await);

    let new = format!("another {old}");
    let dn = dn(&name);
    let change = format!("dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword: {new}\n");
    stage.directory().modify(&change).await.unwrap();
    assert!(imap.knows(&address, &new).await && web_knows(&stage, &name, &new).await);
    assert!(!imap.knows(&address, &old).await && !web_knows(&stage, &name, &old).await);

    let lock =
        format!("dn: {dn}\nchangetype: modify\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n");
    stage.directory().modify(&lock).await.unwrap();
    assert!(!imap.knows(&address, &new).await && !web_knows(&stage, &name, &new).await);
}
