//! One nginx before three replicas, a mailbox server behind it.

use std::collections::BTreeMap;
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
    /// The whole of `[store]`, for each replica.
    pub stores: [String; 3],
    /// Where people have their mail.
    pub host: &'static str,
    /// How nginx chooses among the replicas.
    pub choice: &'static str,
    /// More keys of the back-end.
    pub backend: String,
    /// Portals, back-ends and routes in the place of all of them, with `MAIL` for the address of the mailbox server.
    pub instead: Option<String>,
}

impl Plan {
    /// Replicas that share what stands in this store.
    pub fn sharing(stores: [String; 3]) -> Self {
        Self { stores, host: HOST, choice: TURNS, backend: String::new(), instead: None }
    }

    pub fn backend(self, lines: &str) -> Self {
        Self { backend: format!("{}{lines}\n", self.backend), ..self }
    }

    fn config(&self, store: &str, mail: &str) -> String {
        if let Some(instead) = &self.instead {
            return format!("[store]\n{store}\n{}", instead.replace("MAIL", mail));
        }
        let crate::support::PortalKey { name, cookie, id, secret } = APP_PORTAL;
        format!(
            "[store]\n{store}\n\
             [[portal]]\nname = \"{name}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
             login_url = \"https://portal.example.test/login?next={{url}}\"\n\
             [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n\
             [[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"{mail}\"\nmax_logins = 64\n{}\n\
             [[route]]\nhost = \"{}\"\nportal = \"{name}\"\nbackend = \"mail\"\n",
            self.backend, self.host
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
        let mut replicas: Vec<Replica> = Vec::new();
        for store in &plan.stores {
            let mut replica = Replica::new(plan.config(store, &mail.url()));
            replica.start().await;
            replicas.push(replica);
        }
        let public = free_address().unwrap();
        let auths: Vec<SocketAddr> = replicas.iter().map(|replica| replica.auth).collect();
        let files = web_server(&replicas[0].config, public, &auths, plan.choice).await;
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let nginx = Nginx::start(&folder.path().join("nginx"), &files, public).await.unwrap();
        Self { replicas, mail, public, _nginx: nginx, _folder: folder }
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
                if answer.status != 200 {
                    panic!("{} was not let in: {}\n{}", user.name, answer.status, self.words().await);
                }
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

    /// What replicas have warned of, and how often; what they have counted.
    pub async fn words(&self) -> String {
        let mut words: BTreeMap<String, usize> = BTreeMap::new();
        for (number, replica) in self.replicas.iter().enumerate().filter(|(_, replica)| replica.is_running()) {
            for line in replica.log().lines().filter(|line| !line.contains("hardly meant so")) {
                let mut line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
                if line["level"] == "WARN" || line["level"] == "ERROR" {
                    let _ = ["timestamp", "request_id", "client", "host", "path"].map(|field| line[field].take());
                    *words.entry(line.to_string()).or_default() += 1;
                }
            }
            let metrics = replica.operator("/metrics").await.text();
            let told = [
                "keyward_store_calls",
                "keyward_store_events",
                "keyward_backend_logins_total",
                "keyward_key_lookups",
                "keyward_decisions",
                "keyward_evictions",
                "keyward_keep_alives",
                "keyward_logouts_total",
            ];
            let told = |line: &&str| told.iter().any(|start| line.starts_with(start)) && !line.ends_with(" 0");
            words.extend(metrics.lines().filter(told).map(|line| (format!("of {number}: {line}"), 1)));
        }
        words.iter().take(120).map(|(line, count)| format!("{count} times {line}\n")).collect()
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
    // One that is being replaced refuses at once, and is passed over for that question alone.
    let servers: String = auths.iter().map(|auth| format!("server {auth} max_fails=0; ")).collect();
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
