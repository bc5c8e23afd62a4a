//! One nginx before three replicas, a mailbox server behind it.

use std::net::SocketAddr;
use std::process::Stdio;

use keyward::demo::nginx::{Nginx, SHIPPED};
use keyward::demo::process::{Address, TemporaryWorkspace, Workspace, free_address};

use crate::fakes::axigen::{Axigen, Person};
use crate::person::User;
use crate::replica::Replica;
use crate::support::{APP_PORTAL, Ask, Connection, password_of};

/// Where people have their mail.
pub const HOST: &str = "webmail.example.test";
/// Which of the replicas is asked, where each has a memory of its own.
pub const STICKY: &str = "hash $cookie_office_session consistent;";
/// They take turns, as where they share what they know.
pub const TURNS: &str = "";

/// How a house is to be built.
pub struct Plan {
    /// The whole of `[store]`.
    pub store: String,
    /// How nginx chooses among the replicas.
    pub choice: &'static str,
    /// More keys of the back-end.
    pub backend: String,
    /// More tables.
    pub more: String,
}

impl Plan {
    /// Replicas that share what stands in this store.
    pub fn sharing(store: &str) -> Self {
        Self { store: store.to_owned(), choice: TURNS, backend: String::new(), more: String::new() }
    }

    pub fn backend(self, lines: &str) -> Self {
        Self { backend: format!("{}{lines}\n", self.backend), ..self }
    }

    pub fn more(self, lines: &str) -> Self {
        Self { more: format!("{}{lines}\n", self.more), ..self }
    }

    fn config(&self, mail: &str) -> String {
        let crate::support::PortalKey { name, cookie, id, secret } = APP_PORTAL;
        format!(
            "[store]\n{}\n\
             [[portal]]\nname = \"{name}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
             login_url = \"https://portal.example.test/login?next={{url}}\"\n\
             [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n\
             [[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"{mail}\"\nmax_logins = 64\n{}\n\
             [[route]]\nhost = \"{HOST}\"\nportal = \"{name}\"\nbackend = \"mail\"\n{}\n",
            self.store, self.backend, self.more
        )
    }
}

pub struct House {
    pub replicas: Vec<Replica>,
    pub mail: Axigen,
    /// Where browsers come.
    pub public: SocketAddr,
    _nginx: Nginx,
    _folder: TemporaryWorkspace,
}

impl House {
    pub async fn start(plan: &Plan) -> Self {
        let mail = Axigen::start(Vec::new()).await.unwrap();
        mail.forget_requests();
        let folder = Workspace::temporary().unwrap();
        let config = folder.with_our_rights().write("keyward.toml", &plan.config(&mail.url())).unwrap();
        let mut replicas = [(); 3].map(|()| Replica::new(&config));
        for starting in &mut replicas {
            starting.start().await;
        }
        let public = free_address().unwrap();
        let auths: Vec<SocketAddr> = replicas.iter().map(|replica| replica.auth).collect();
        let files = web_server(&config, public, &auths, plan.choice).await;
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let nginx = Nginx::start(&folder.path().join("nginx"), &files, public).await.unwrap();
        Self { replicas: replicas.into(), mail, public, _nginx: nginx, _folder: folder }
    }

    /// Somebody with a mailbox, who is signed in at the portal.
    pub fn user(&self, name: &str) -> User {
        self.mail.add(Person::new(name, &password_of(name), name));
        User::new(name)
    }

    /// A browser's connection.
    pub async fn connect(&self) -> Connection {
        Connection::open(&Address::Tcp(self.public)).await
    }

    /// Has every replica decide about everybody once, so that all of them have the keys in memory.
    pub async fn warm(&self, people: &[std::sync::Arc<User>]) {
        for replica in &self.replicas {
            let mut connection = replica.connect().await;
            for user in people {
                let answer = connection.ask(crate::support::Door::AuthRequest, &ask(user)).await;
                answer.assert_allows(&user.name);
            }
        }
    }

    /// Leases that ended before what was got under them could be kept, at all replicas.
    pub async fn leases_lost(&self) -> f64 {
        let mut lost = 0.0;
        for replica in &self.replicas {
            lost += replica.leases_lost().await;
        }
        lost
    }

    /// Every replica says that the store answers, or that it does not.
    pub async fn store_is(&self, up: bool) {
        for replica in self.replicas.iter().filter(|replica| replica.is_running()) {
            replica.store_is(up).await;
        }
    }
}

/// The question about somebody's mailbox.
pub fn ask(user: &User) -> Ask {
    Ask::get(format!("http://{HOST}/")).cookie(&user.cookie)
}

/// What `keyward snippet nginx` writes, with all replicas in the place of one.
async fn web_server(
    config: &std::path::Path,
    public: SocketAddr,
    auths: &[SocketAddr],
    choice: &str,
) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let mut snippet = tokio::process::Command::new(env!("CARGO_BIN_EXE_keyward"));
    snippet.args(["snippet", "nginx", "--listen", &public.to_string(), "-c"]).arg(config);
    snippet.env("KEYWARD__LISTEN__AUTH", auths[0].to_string()).arg("--into").arg(folder.path());
    let written = snippet.stdout(Stdio::null()).stderr(Stdio::piped()).output().await.unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let one = format!("server {}; keepalive 32;", auths[0]);
    // One that failed is tried again after a second: a replica that is replaced is back soon.
    let servers: String = auths.iter().map(|auth| format!("server {auth} max_fails=2 fail_timeout=1s; ")).collect();
    let all = format!("{choice} {servers} keepalive 64;");
    let mut files = Vec::new();
    for (name, shipped) in SHIPPED {
        let text = match std::fs::read_to_string(folder.path().join(name)) {
            Ok(text) => text,
            Err(_) => (*shipped).to_owned(),
        };
        // Everybody waits at once where something hangs.
        files.push(((*name).to_owned(), text.replace("worker_connections 1024", "worker_connections 8192")));
    }
    let site = std::fs::read_to_string(folder.path().join("site.conf")).unwrap();
    assert!(site.contains(&one), "{site}");
    files.push(("site.conf".to_owned(), site.replace(&one, &all)));
    files
}
