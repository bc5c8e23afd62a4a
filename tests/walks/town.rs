//! The real nginx with the shipped files and TLS, the program with one portal, and a webmail behind both.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use keyward::demo::Person;
use keyward::demo::nginx::{Nginx, SHIPPED};
use keyward::demo::process::{Address, TemporaryWorkspace, Workspace, free_address};
use keyward::demo::roundcube::{Roundcube, RoundcubeOptions};
use keyward::domain::{DerivationKey, ExposeSecret, Secret};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::chromium::Names;
use crate::fakes::axigen::{Axigen, Person as Customer};
use crate::support::{Setup, Sidecar, password_of};

/// What passwords are derived with, where the portal brings none.
const DERIVE: &str = "a secret of thirty-two bytes, at least";
/// Everybody who has a mailbox, and the one message in it.
const PEOPLE: [(&str, &str); 2] = [("alice", "Welcome, dear Alice"), ("bob", "Welcome, dear Bob")];

/// Which webmail it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webmail {
    /// The real Roundcube on a real Dovecot.
    Roundcube,
    /// The stand-in, whose pages need no scripts.
    Axigen,
}

/// Where the webmail's password comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// The portal brings it.
    Portal,
    /// Nobody has to know it.
    Derived,
}

/// Fields end in order.
pub struct Town {
    pub keyward: Sidecar,
    pub names: Names,
    _nginx: Nginx,
    _roundcube: Option<Roundcube>,
    _axigen: Option<Axigen>,
    _files: TemporaryWorkspace,
}

impl Town {
    /// With this `[[portal]]`, by the name `portal`.
    pub async fn start(webmail: Webmail, password: Password, portal: &str) -> Self {
        let files = Workspace::temporary().unwrap();
        let (mut roundcube, mut axigen) = (None, None);
        let (kind, url) = match webmail {
            Webmail::Roundcube => {
                let people = PEOPLE.map(|(user, subject)| Person {
                    name: user.to_owned(),
                    password: Secret::from(password.of(user)),
                    subject: subject.to_owned(),
                });
                let home = files.directory("roundcube").unwrap();
                let running = Roundcube::start(home.path(), &people, &RoundcubeOptions::default()).await.unwrap();
                for person in &people {
                    look_in(running.imap(), &person.name, person.password.expose_secret()).await;
                }
                let url = running.url();
                roundcube = Some(running);
                ("roundcube", url)
            }
            Webmail::Axigen => {
                let people = PEOPLE.map(|(user, _)| Customer::new(user, &password.of(user), user));
                let running = Axigen::start(people.to_vec()).await.unwrap();
                let url = running.url();
                axigen = Some(running);
                ("axigen", url)
            }
        };
        let keyward = Setup::new(&config(portal, kind, &url, password)).start().await;
        let [https, http, other_port] = [(); 3].map(|()| free_address().unwrap());
        let names = Names { https, http, other_port };
        let nginx = serve(files.directory("nginx").unwrap().path(), &names, &keyward.auth, kind, &url).await;
        Self { keyward, names, _nginx: nginx, _roundcube: roundcube, _axigen: axigen, _files: files }
    }
}

impl Password {
    /// Somebody's password at the webmail.
    fn of(self, user: &str) -> String {
        match self {
            Self::Portal => password_of(user),
            Self::Derived => {
                let key = DerivationKey::new("k", &Secret::from(DERIVE)).unwrap();
                key.password(user).expose_secret().to_owned()
            }
        }
    }
}

/// Dovecot makes a mailbox at the first look into it, and shows it as empty to who looks at the same time, as
/// the scripts of a page do.
pub async fn look_in(imap: SocketAddr, user: &str, password: &str) {
    let mut stream = BufReader::new(TcpStream::connect(imap).await.unwrap());
    for (command, end) in [
        (String::new(), "* OK"),
        (format!("a LOGIN {user} \"{password}\"\r\n"), "a OK"),
        ("b SELECT INBOX\r\n".to_owned(), "b OK"),
        ("c LOGOUT\r\n".to_owned(), "c OK"),
    ] {
        stream.write_all(command.as_bytes()).await.unwrap();
        let mut line = String::new();
        while !line.starts_with(end) {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "no answer to {end}");
            assert!(!line.contains(" NO ") && !line.contains(" BAD "), "{line}");
        }
    }
}

fn config(portal: &str, kind: &str, url: &str, password: Password) -> String {
    let credentials = match password {
        Password::Portal => "credentials = \"portal\"\n".to_owned(),
        Password::Derived => {
            format!("credentials = \"derived\"\n[[backend.derive]]\nid = \"k\"\nsecret = \"{DERIVE}\"\n")
        }
    };
    let (_, name) = portal.split_once("name = \"").unwrap();
    let (name, _) = name.split_once('"').unwrap();
    format!(
        "{portal}\n[[backend]]\nname = \"mail\"\nkind = \"{kind}\"\nurl = \"{url}\"\nlogin_timeout = \"30s\"\n{credentials}\
         [[route]]\nhost = \"webmail.example.test\"\nportal = \"{name}\"\nbackend = \"mail\"\n"
    )
}

async fn serve(directory: &Path, names: &Names, keyward: &Address, kind: &str, url: &str) -> Nginx {
    let Address::Tcp(keyward) = keyward else { unreachable!("it listens on a port") };
    let Names { https, http, other_port } = names;
    let site = format!(
        "include keyward/http.conf;
        upstream keyward {{ server {keyward}; keepalive 8; }}
        upstream {kind} {{ server {}; }}
        map $host $keyward_scheme {{ default $scheme; }}
        map $host $keyward_host {{ default $host; }}
        map $host $keyward_signed_out {{ default \"\"; }}
        ssl_certificate tls.pem;
        ssl_certificate_key tls.pem;
        server {{ listen {https} ssl default_server; listen {http} default_server; listen {other_port}; return 421; }}
        server {{ listen {https} ssl; server_name webmail.example.test; include keyward/{kind}.inc; }}",
        url.trim_start_matches("http://"),
    );
    let certificate = certificate();
    let own = [("site.conf", site.as_str()), ("tls.pem", &certificate)];
    let all: Vec<(&str, &str)> = SHIPPED.iter().copied().chain(own).collect();
    Nginx::start(directory, &all, *https).await.unwrap()
}

/// Key and certificate in one file, made by itself and for a day.
pub fn certificate() -> String {
    let arguments =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test -days 1 -keyout - -out -";
    let made = Command::new("openssl").args(arguments.split(' ')).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}
