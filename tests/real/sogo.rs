//! SOGo as Debian ships it, with a database, a cache and a mail server of its own.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use keyward::demo::dovecot::Dovecot;
use keyward::demo::process::{Address, Process, Workspace, find_program, free_address};
use keyward::demo::{DemoError, Person};
use keyward::domain::ExposeSecret;

/// Read by every SOGo before what it is told. Debian lets only the group in.
const SETTINGS: &str = "/etc/sogo/sogo.conf";
const GROUP: &str = "sogo";
/// Requests at once.
const WORKERS: &str = "3";

/// SOGo takes half a minute to end, and MariaDB two seconds. Nobody wants what they would save, and SOGo's
/// workers end with it.
const IN_A_HURRY: &str = r#"
"$@" &
server=$!
trap 'kill -KILL "$server"' TERM
while kill -0 "$server" 2>/dev/null; do wait "$server"; done
"#;

/// What can be chosen about a SOGo.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Wrong passwords after which it takes no login for a while; 0 is for any number.
    pub most_failures: u32,
    /// Whether it believes a header that says who somebody is.
    pub trusts_proxy: bool,
}

/// A running SOGo. The servers end in the order of the fields: those that ask before those that are asked.
pub struct Sogo {
    sogod: Process,
    dovecot: Option<Dovecot>,
    memcached: Process,
    database: Option<Process>,
    address: SocketAddr,
}

impl Sogo {
    /// Starts it below a directory, for these people, and waits until it accepts connections.
    pub async fn start(directory: &Path, people: &[Person], options: Options) -> Result<Self, DemoError> {
        let workspace = Workspace::at(directory)?;
        let dovecot = Dovecot::start(workspace.directory("imap")?.path(), people).await?;
        let (database, tables) = database(&workspace.directory("database")?, people).await?;
        let cache = free_address()?;
        let (ip, port) = (cache.ip().to_string(), cache.port().to_string());
        let arguments = ["-l", &ip, "-p", &port, "-U", "0"];
        let mut memcached = Process::start("memcached", &program("memcached")?, &arguments, &workspace)?;
        memcached.ready(&Address::Tcp(cache)).await?;
        let address = free_address()?;
        let home = workspace.directory("sogo")?.in_group(GROUP)?;
        home.write("sogod.plist", &settings(&home, address, tables, cache, dovecot.address(), options))?;
        // GNUstep would look for it in the home directory of the account, which may be anybody's.
        let libraries = format!("GNUSTEP_USER_DEFAULTS_DIR={}\n", home.path().display());
        let libraries = home.write("GNUstep.conf", &libraries)?;
        let libraries = format!("GNUSTEP_CONFIG_FILE={}", libraries.display());
        let sogod = program("sogod")?;
        let arguments = ["env", &libraries, &sogod.to_string_lossy(), "-WONoDetach", "YES"];
        let mut sogod = start_in_a_hurry("sogod", &arguments, &home)?;
        if let Err(error) = sogod.ready(&Address::Tcp(address)).await {
            panic!("{error}\n(It must be able to read {SETTINGS}: be root, or in the group {GROUP}.)");
        }
        Ok(Self { sogod, dovecot: Some(dovecot), memcached, database: Some(database), address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as it is configured, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}/SOGo", self.address)
    }

    /// Ends its mail server.
    pub fn lose_mail(&mut self) {
        self.dovecot = None;
    }

    /// Ends its database, where people and sessions are.
    pub fn lose_database(&mut self) {
        self.database = None;
    }

    /// Whether all that was not ended still runs.
    pub fn check(&mut self) -> Result<(), DemoError> {
        self.sogod.check()?;
        self.memcached.check()?;
        self.dovecot.as_mut().map_or(Ok(()), Dovecot::check)?;
        self.database.as_mut().map_or(Ok(()), Process::check)
    }
}

/// Starts a server that ends in no time.
fn start_in_a_hurry(name: &'static str, command: &[&str], home: &Workspace) -> Result<Process, DemoError> {
    let arguments = [&["-c", IN_A_HURRY, "sh"], command].concat();
    Process::start(name, &program("sh")?, &arguments, home)
}

fn program(name: &'static str) -> Result<std::path::PathBuf, DemoError> {
    find_program(name).ok_or(DemoError::Missing(name))
}

/// MariaDB without its system tables: nobody has to be let in but those who find the address.
async fn database(home: &Workspace, people: &[Person]) -> Result<(Process, SocketAddr), DemoError> {
    let address = free_address()?;
    let data = home.directory("data")?;
    let first = home.write("first.sql", &people_table(people))?;
    let directory = home.path().display();
    let arguments = [
        program("mariadbd")?.to_string_lossy().into_owned(),
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.path().display()),
        format!("--init-file={}", first.display()),
        format!("--bind-address={}", address.ip()),
        format!("--port={}", address.port()),
        format!("--socket={directory}/socket"),
        format!("--pid-file={directory}/pid"),
        "--skip-networking=OFF".to_owned(),
        "--skip-grant-tables".to_owned(),
        "--innodb-flush-log-at-trx-commit=0".to_owned(),
        "--innodb-buffer-pool-size=16M".to_owned(),
        "--innodb-log-file-size=4M".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut database = start_in_a_hurry("mariadbd", &arguments, home)?;
    database.ready(&Address::Tcp(address)).await?;
    Ok((database, address))
}

/// In hexadecimal, so that names and passwords may hold anything.
fn people_table(people: &[Person]) -> String {
    let text = |text: &str| {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("CONVERT(X'{hex}' USING utf8mb4)")
    };
    let mut sql = "CREATE DATABASE sogo CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\nCREATE TABLE sogo.people \
                   (c_uid VARCHAR(255) PRIMARY KEY, c_name VARCHAR(255), c_password VARCHAR(1023), \
                   c_cn VARCHAR(255), mail VARCHAR(255));\n"
        .to_owned();
    for person in people {
        let name = text(&person.name);
        let mail =
            if person.name.contains('@') { person.name.clone() } else { format!("{}@example.test", person.name) };
        let (password, mail) = (text(person.password.expose_secret()), text(&mail));
        let _ = writeln!(sql, "INSERT INTO sogo.people VALUES ({name}, {name}, {password}, {name}, {mail});");
    }
    sql
}

fn settings(
    home: &Workspace,
    address: SocketAddr,
    database: SocketAddr,
    cache: SocketAddr,
    imap: SocketAddr,
    options: Options,
) -> String {
    let directory = home.path().display();
    let failures = options.most_failures;
    let trusts_proxy = if options.trusts_proxy { "YES" } else { "NO" };
    let tables = format!("mysql://sogo:none@{database}/sogo");
    format!(
        r#"{{
  WOPort = "{address}";
  WOWorkersCount = {WORKERS};
  WOLogFile = "-";
  WOPidFile = "{directory}/pid";
  SxVMemLimit = 1024;
  MySQL4Encoding = utf8mb4;
  SOGoProfileURL = "{tables}/sogo_user_profile";
  OCSFolderInfoURL = "{tables}/sogo_folder_info";
  OCSSessionsFolderURL = "{tables}/sogo_sessions_folder";
  OCSEMailAlarmsFolderURL = "{tables}/sogo_alarms_folder";
  SOGoMemcachedHost = "{cache}";
  SOGoIMAPServer = "imap://{imap}";
  SOGoPasswordChangeEnabled = YES;
  SOGoMaximumFailedLoginCount = {failures};
  SOGoTrustProxyAuthentication = {trusts_proxy};
  SOGoUserSources = ({{
    type = sql;
    id = people;
    viewURL = "{tables}/people";
    canAuthenticate = YES;
    isAddressBook = NO;
    userPasswordAlgorithm = plain;
  }});
}}
"#
    )
}
