//! A portal tells of a new password: the directory has it, the mailbox has it, and the old one opens nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::browser::{Browser, COOKIE, House, INBOX, PEOPLE, config};
use crate::fakes::axigen::{Axigen, Person};
use crate::fakes::axigen_cli::{AxigenCli, Server};
use crate::real::slapd::{self, Slapd};
use crate::support::{Answer, Ask, Setup, until};

const KEY: &str = "00112233445566778899aabbccddeeff";
const OLD: &str = "wonderland";
const NEW: &str = "the n3w 'pässword' #1";

/// Between Keyward and the directory: while it is shut, whoever shows the old password gets no answer.
struct Gate {
    address: SocketAddr,
    is_shut: watch::Sender<bool>,
    /// How many wait for an answer.
    waiting: Arc<AtomicUsize>,
}

impl Gate {
    async fn start(directory: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_shut, shut) = watch::channel(false);
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(directory).await else { continue };
                tokio::spawn(pass(client, server, shut.clone(), Arc::clone(&counted)));
            }
        });
        Self { address, is_shut, waiting }
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    mut shut: watch::Receiver<bool>,
    waiting: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let (mut question, mut answer) = (vec![0; 65536], vec![0; 65536]);
    let mut shows_old = false;
    loop {
        tokio::select! {
            read = client.read(&mut question) => match read? {
                0 => return Ok(()),
                read => {
                    shows_old |= question[..read].windows(OLD.len()).any(|part| part == OLD.as_bytes());
                    server.write_all(&question[..read]).await?;
                }
            },
            read = server.read(&mut answer) => match read? {
                0 => return Ok(()),
                read => {
                    if shows_old && *shut.borrow() {
                        waiting.fetch_add(1, Ordering::SeqCst);
                        let _ = shut.wait_for(|shut| !shut).await;
                    }
                    client.write_all(&answer[..read]).await?;
                }
            },
        }
    }
}

/// A house whose portal is told of new passwords, and the command line of its mail server.
struct Office {
    house: House,
    cli: AxigenCli,
    gate: Gate,
}

impl Office {
    /// With an account in the directory that may write passwords, or one that may only read.
    async fn start(may_write: bool) -> Self {
        let at_home = |name: &str| format!("{name}@example.test");
        let people = PEOPLE.map(|(name, password)| Person::new(&at_home(name), password, name)).to_vec();
        let (mut cli, mut gate) = (None, None);
        let house = House::set_up(people, async |slapd: &Slapd, office: &Axigen| {
            let server = AxigenCli::start(Server::default(), office.mailboxes()).await.unwrap();
            let Server { user, password, .. } = Server::default();
            let accounts = format!(
                "login = \"{{sub}}@example.test\"\nlogin_timeout = \"4s\"\n\
                 [backend.accounts]\naddress = \"{}\"\nuser = {user:?}\nsecret = {password:?}\n",
                server.address()
            );
            cli = Some(server);
            let key = format!(
                "[[api.key]]\ncaller = \"customers\"\nsecret = \"{KEY}\"\nportal = \"customers\"\n\
                 [[portal]]\nname = \"customers\"\nkind = \"registered\"\ncookie = \"customers\"\n\
                 login_url = \"https://portal.example.test/{{url}}\"\n\
                 [[route]]\nhost = \"customers.example.test\"\nportal = \"customers\"\nbackend = \"office\"\n"
            );
            let joins = "timeout = \"5s\"\n[portal.accounts]\npasswords = true\npeople_of = [\"customers\"]";
            let config = config(slapd, &office.url(), joins, &key);
            let between = Gate::start(slapd.address()).await;
            let config = config.replace(&slapd.url(), &format!("ldap://{}", between.address));
            gate = Some(between);
            let config = config.replace("credentials = \"portal\"\n", &format!("credentials = \"portal\"\n{accounts}"));
            let config = match may_write {
                true => config
                    .replace(slapd::READER, slapd::ADMINISTRATOR)
                    .replace(slapd::READER_PASSWORD, slapd::ADMINISTRATOR_PASSWORD),
                false => config,
            };
            Setup::new(&config).with_api()
        });
        let house = house.await;
        Self { house, cli: cli.unwrap(), gate: gate.unwrap() }
    }

    async fn set_password(&self, user: &str, password: &str) -> (u16, Value) {
        let body = json!({ "password": password }).to_string();
        let call = format!(
            "PUT /v1/accounts/{user}/password HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.house.keyward.call(call).await;
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// What a client without cookies is told that shows this password.
    async fn dav(&self, password: &str) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode(format!("alice:{password}")));
        self.house.ask(&Ask::get("https://app.example.test/dav/").header("Authorization", basic)).await
    }

    async fn has(&self, password: &str) -> bool {
        self.house.slapd.has_password(&slapd::person_dn("alice"), password).await
    }
}

#[tokio::test]
async fn a_new_password_is_in_the_directory_and_in_the_mailbox_and_the_old_one_opens_nothing() {
    let office = Office::start(true).await;
    let mut browser = Browser::new(&office.house);
    assert_eq!(browser.sign_in("alice", OLD).await.status, 303);
    browser.ask(INBOX).await.assert_allows("alice");
    office.dav(OLD).await.assert_allows("alice");
    let mut bob = Browser::new(&office.house);
    assert_eq!(bob.sign_in("bob", PEOPLE[1].1).await.status, 303);
    // A telephone that was quicker than the portal.
    assert_eq!(office.dav(NEW).await.status, 401);

    let (status, told) = office.set_password("alice", NEW).await;
    let portals = json!([{ "portal": "staff", "outcome": "done" }]);
    let backends = json!([{ "backend": "office", "outcome": "done" }]);
    assert_eq!((status, &told["portals"], &told["backends"]), (200, &portals, &backends), "{told}");
    assert!(office.has(NEW).await && !office.has(OLD).await);
    assert_eq!(office.cli.password("alice@example.test").as_deref(), Some(NEW));

    assert_eq!(browser.ask(INBOX).await.status, 401, "the session began with the old password");
    assert_eq!(office.dav(OLD).await.status, 401, "whatever was remembered of it");
    office.dav(NEW).await.assert_allows("alice");
    bob.ask(INBOX).await.assert_allows("bob");
    let mut again = Browser::new(&office.house);
    assert_ne!(again.sign_in("alice", OLD).await.status, 303);
    assert_eq!(again.sign_in("alice", NEW).await.status, 303);
    again.ask(INBOX).await.assert_allows("alice");

    // Told once more, which happens where an answer was lost: nobody loses what they have.
    assert_eq!(office.set_password("alice", NEW).await.0, 200);
    let again = again.ask("https://app.example.test/dav/").await;
    again.assert_allows("alice");
    let log = office.house.keyward.log();
    assert!(log.contains("password changed in the directory"), "{log}");
    for secret in [OLD, NEW, "n3w", slapd::ADMINISTRATOR_PASSWORD] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn whoever_is_on_their_way_in_with_the_old_password_is_not_let_in_any_more() {
    let office = Office::start(true).await;
    let mut browser = Browser::new(&office.house);
    let form = browser.form(INBOX).await;
    office.gate.is_shut.send_replace(true);
    let (page, telephone, ()) = tokio::join!(
        browser.submit(&form, "alice", OLD),
        async {
            let basic = format!("Basic {}", STANDARD.encode(format!("alice:{OLD}")));
            let dav = Ask::get("https://app.example.test/dav/").header("Authorization", basic);
            office.house.ask(&dav.header("X-Forwarded-For", "198.51.100.1")).await
        },
        async {
            until("both are asked about", async || office.gate.waiting.load(Ordering::SeqCst) == 2).await;
            assert_eq!(office.set_password("alice", NEW).await.0, 200);
            office.gate.is_shut.send_replace(false);
        }
    );
    assert!(page.status != 303 && browser.cookie(COOKIE).is_none(), "{page:?}");
    assert_ne!(telephone.status, 200, "{telephone:?}");
    assert_eq!(office.dav(OLD).await.status, 401);
    assert_eq!(browser.sign_in("alice", OLD).await.status, 403);
    assert_eq!(browser.sign_in("alice", NEW).await.status, 303);
    office.dav(NEW).await.assert_allows("alice");
}

#[tokio::test]
async fn what_was_remembered_of_the_old_password_opens_no_session_of_the_new_one() {
    let office = Office::start(true).await;
    office.dav(OLD).await.assert_allows("alice");
    let new = "looking-glass";
    office.house.set_password("alice", new).await;
    // The directory knows it already, whatever the mailbox says.
    assert_ne!(office.dav(new).await.status, 401);
    assert_eq!(office.set_password("alice", new).await.0, 200);
    office.dav(new).await.assert_allows("alice");
    assert_eq!(office.dav(OLD).await.status, 401);
}

#[tokio::test]
async fn a_directory_that_is_down_is_told_when_it_is_back() {
    let mut office = Office::start(true).await;
    office.house.slapd.stop();
    let (status, told) = office.set_password("alice", NEW).await;
    assert_eq!((status, &told["portals"][0]["outcome"]), (202, &json!("pending")), "{told}");
    assert_eq!(told["backends"][0]["outcome"], "done", "{told}");
    office.house.slapd.start_again().await.unwrap();
    until("the new password", async || office.has(NEW).await).await;
    assert!(!office.has(OLD).await);
}

#[tokio::test]
async fn what_the_directory_refuses_is_not_done_at_the_mailbox_either() {
    let office = Office::start(false).await;
    let left_alone = |told: &Value| told["backends"][0]["detail"].as_str().unwrap().contains("left as it is");
    let (status, told) = office.set_password("alice", NEW).await;
    assert_eq!((status, &told["portals"][0]["outcome"]), (409, &json!("refused")), "{told}");
    assert!(left_alone(&told), "{told}");
    let (status, told) = office.set_password("nobody", NEW).await;
    assert!(status == 409 && left_alone(&told), "{told}");
    assert!(told["portals"][0]["detail"].as_str().unwrap().contains("no such account"), "{told}");
    assert!(office.has(OLD).await && !office.has(NEW).await);
    assert_eq!(office.cli.password("alice@example.test").as_deref(), Some(OLD));
}
