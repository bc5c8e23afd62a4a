//! Child processes that end with us, the directories they live in, and addresses that nobody uses.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::DemoError;

/// Longest wait for a server to accept connections, or to end.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Time between two tries to connect.
const TRY_EVERY: Duration = Duration::from_millis(20);
/// Lines of a log that are shown when a server dies.
const LOG_TAIL: usize = 12;

/// The server runs below this shell, which ends it when its standard input ends: when [`Process`]
/// is dropped, and just as well when we are killed and can drop nothing. What does not go when
/// asked is killed after five seconds.
const KEEPER: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(
    read -r _ <&3
    kill -TERM "$server"
    trap 'kill "$nap"; exit' TERM
    sleep 5 & nap=$!
    wait "$nap"
    kill -KILL "$server"
) >/dev/null 2>&1 &
guard=$!
wait "$server"
status=$?
kill "$guard" 2>/dev/null
exit "$status"
"#;

/// Who the servers run as: ourselves, or, where we are root, somebody with no rights at all.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user's name, for configurations that want one.
    pub user: String,
    /// The group's name.
    pub group: String,
    ids: Option<(u32, u32)>,
}

impl Account {
    /// Ourselves; for root `www-data`, else `nobody`.
    ///
    /// # Errors
    /// When the user database does not know us.
    pub fn without_rights() -> Result<Self, DemoError> {
        let me = std::fs::metadata("/proc/self").map_err(|error| DemoError::file(Path::new("/proc/self"), &error))?;
        let users = read("/etc/passwd")?;
        let users = || users.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|user| user.len() >= 4);
        let wanted = |user: &Vec<&str>| match me.uid() {
            0 => user[0] == "www-data" || user[0] == "nobody",
            uid => user[2] == uid.to_string(),
        };
        let user = users().find(|user| user[0] == "www-data" && wanted(user)).or_else(|| users().find(wanted));
        let user = user.ok_or(DemoError::NoAccount)?;
        let (uid, gid) = (user[2].parse(), user[3].parse());
        let (Ok(uid), Ok(gid)) = (uid, gid) else { return Err(DemoError::NoAccount) };
        let groups = read("/etc/group")?;
        let group = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let group = group.filter(|group| group.len() >= 3).find(|group| group[2] == user[3]);
        let group = group.ok_or(DemoError::NoAccount)?[0].to_owned();
        Ok(Self { user: user[0].to_owned(), group, ids: (me.uid() == 0).then_some((uid, gid)) })
    }

    fn give(&self, path: &Path) -> Result<(), DemoError> {
        let Some((uid, gid)) = self.ids else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(|error| DemoError::file(path, &error))
    }
}

/// A directory whose content belongs to the servers.
#[derive(Clone, Debug)]
pub struct Workspace {
    path: PathBuf,
    account: Account,
}

impl Workspace {
    /// Takes a directory over: what is in it afterwards belongs to [`Account::without_rights`].
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn at(path: &Path) -> Result<Self, DemoError> {
        let account = Account::without_rights()?;
        let workspace = Self { path: path.to_owned(), account };
        workspace.make(path)?;
        Ok(workspace)
    }

    /// A new one in the system's place for such things.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temporary() -> Result<TemporaryWorkspace, DemoError> {
        let path = std::env::temp_dir().join(format!("keyward-demo-{:016x}", rand::random::<u64>()));
        Self::at(&path).map(TemporaryWorkspace)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who owns it.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// A directory in it, made if needed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self, name: &str) -> Result<Self, DemoError> {
        let mut path = self.path.clone();
        for part in Path::new(name) {
            path.push(part);
            self.make(&path)?;
        }
        Ok(Self { path, account: self.account.clone() })
    }

    /// Writes a file in it, which only its owner can read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf, DemoError> {
        let path = self.path.join(name);
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(content.as_bytes()));
        written.map_err(|error| DemoError::file(&path, &error))?;
        self.account.give(&path)?;
        Ok(path)
    }

    /// The same directory for programs that run with our own rights.
    #[must_use]
    pub fn with_our_rights(&self) -> Self {
        Self { path: self.path.clone(), account: Account { ids: None, ..self.account.clone() } }
    }

    /// The same directory for programs that must read what only a group may read. Where we are not root they
    /// are in our own groups.
    ///
    /// # Errors
    /// There is no such group.
    pub fn in_group(&self, name: &str) -> Result<Self, DemoError> {
        let mut account = self.account.clone();
        if let Some((_, gid)) = &mut account.ids {
            let groups = read("/etc/group")?;
            let group = groups.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|group| group[0] == name);
            let id = group.and_then(|group| group.get(2)?.parse().ok());
            *gid = id.ok_or(DemoError::NoAccount)?;
        }
        Ok(Self { path: self.path.clone(), account })
    }

    /// A command that runs here, without any rights.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.path);
        if let Some((uid, gid)) = self.account.ids {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn make(&self, path: &Path) -> Result<(), DemoError> {
        if !path.is_dir() {
            let made = std::fs::DirBuilder::new().mode(0o700).create(path);
            made.map_err(|error| DemoError::file(path, &error))?;
        }
        self.account.give(path)
    }
}

/// A [`Workspace`] that is removed, with all that is in it, when dropped.
#[derive(Debug)]
pub struct TemporaryWorkspace(Workspace);

impl std::ops::Deref for TemporaryWorkspace {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        &self.0
    }
}

impl Drop for TemporaryWorkspace {
    fn drop(&mut self) {
        // Nobody is left to be told, and what stays lies in the system's place for such things.
        let _ = std::fs::remove_dir_all(&self.0.path);
    }
}

/// A server that ends when this is dropped, and also when we end in any other way.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    log: PathBuf,
    keeper: Child,
}

impl Process {
    /// Starts a program in the workspace. What it prints goes into `<name>.log` there.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn start(
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        workspace: &Workspace,
    ) -> Result<Self, DemoError> {
        let log = workspace.write(&format!("{name}.log"), "")?;
        let output = File::options().append(true).open(&log).map_err(|error| DemoError::file(&log, &error))?;
        let errors = output.try_clone().map_err(|error| DemoError::file(&log, &error))?;
        let mut command = workspace.command(Path::new("/bin/sh"));
        command.args(["-c", KEEPER, "sh"]).arg(program).args(arguments);
        // A process group of its own, so that Ctrl-C reaches us alone and things end in order.
        command.process_group(0).stdin(Stdio::piped()).stdout(output).stderr(errors);
        let keeper = command.spawn().map_err(|error| DemoError::file(program, &error))?;
        Ok(Self { name, log, keeper })
    }

    /// Waits until the server accepts connections.
    ///
    /// # Errors
    /// It died before, or did not come up in time; with the end of its log.
    pub async fn ready(&mut self, address: &Address) -> Result<(), DemoError> {
        let connected = async {
            loop {
                if address.accepts().await {
                    return Ok(());
                }
                self.check()?;
                tokio::time::sleep(TRY_EVERY).await;
            }
        };
        match tokio::time::timeout(READY_WITHIN, connected).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.failure("did not come up in time")),
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It does not; with the end of its log.
    pub fn check(&mut self) -> Result<(), DemoError> {
        match self.keeper.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(self.failure("ended by itself")),
        }
    }

    /// Waits until it has ended by itself, and tells how.
    ///
    /// # Errors
    /// It goes on; with the end of its log.
    pub async fn ended(&mut self) -> Result<ExitStatus, DemoError> {
        let ended = async {
            loop {
                if let Ok(Some(status)) = self.keeper.try_wait() {
                    return status;
                }
                tokio::time::sleep(TRY_EVERY).await;
            }
        };
        let ended = tokio::time::timeout(READY_WITHIN, ended).await;
        ended.map_err(|_| self.failure("did not end in time"))
    }

    fn failure(&self, what: &'static str) -> DemoError {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n");
        DemoError::Server { name: self.name, what, tail }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// A port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    async fn accepts(&self) -> bool {
        match self {
            Self::Tcp(address) => tokio::net::TcpStream::connect(address).await.is_ok(),
            Self::Unix(path) => tokio::net::UnixStream::connect(path).await.is_ok(),
        }
    }
}

/// A loopback address that nobody listens on.
///
/// Another program could take a port between our looking and the server's binding. So the address
/// is one of the sixteen million that Linux has on loopback, drawn at random.
///
/// # Errors
/// When no port is free there.
pub fn free_address() -> Result<SocketAddr, DemoError> {
    let [a, b, c]: [u8; 3] = rand::random();
    free_port(Ipv4Addr::new(127, a, b, c.clamp(1, 254)).into())
}

/// A free port at this address.
///
/// # Errors
/// When there is none.
pub fn free_port(address: IpAddr) -> Result<SocketAddr, DemoError> {
    let free = || {
        let socket = Socket::new(Domain::for_address(SocketAddr::new(address, 0)), Type::STREAM, None)?;
        // A process that is just being forked holds it a moment longer than we do. So it does not listen, or somebody
        // would be seen there, and does not keep the server from having it.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(address, 0).into())?;
        socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable.into())
    };
    free().map_err(DemoError::NoPort)
}

/// Where a program is, in the search path and where Debian keeps servers.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(servers).map(|directory| directory.join(name)).find(|file| file.is_file())
}

fn read(path: &str) -> Result<String, DemoError> {
    std::fs::read_to_string(path).map_err(|error| DemoError::file(Path::new(path), &error))
}
