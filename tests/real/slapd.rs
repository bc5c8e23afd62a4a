//! OpenLDAP's server as Debian ships it, with a tree, certificates and a configuration of its own.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use keyward::demo::DemoError;
use keyward::demo::process::{Address, Process, Workspace, find_program, free_address};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio::io::AsyncWriteExt;

/// The top of the tree.
pub const BASE: &str = "dc=example,dc=test";
/// May do everything.
pub const ADMINISTRATOR: &str = "cn=admin,dc=example,dc=test";
pub const ADMINISTRATOR_PASSWORD: &str = "may do everything";
/// May read everything but passwords.
pub const READER: &str = "cn=reader,dc=example,dc=test";
pub const READER_PASSWORD: &str = "may read";
/// Wrong passwords after which somebody is locked out, where [`Options::policy`] is set.
pub const MOST_FAILURES: usize = 3;
/// The shortest new password, where [`Options::policy`] is set.
pub const SHORTEST_PASSWORD: usize = 8;

/// Where Debian keeps what the server loads.
const MODULES: &str = "/usr/lib/ldap";
const SCHEMA: &str = "/etc/ldap/schema";

/// What can be chosen about a directory.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Entries beside the tree's own, as LDIF: see [`person`] and [`group`].
    pub ldif: String,
    /// Whether there are rules for passwords: [`MOST_FAILURES`], [`SHORTEST_PASSWORD`].
    pub policy: bool,
    /// The host name in its certificate, in place of its addresses and `localhost`.
    pub certified_as: Option<String>,
    /// More lines of slapd.conf: for the server itself, and at the end, for the tree.
    pub settings: String,
    pub tree_settings: String,
}

/// A running directory with [`BASE`], `ou=people` and `ou=groups` below it. Whoever is in a group has a
/// `memberOf`.
pub struct Slapd {
    process: Option<Process>,
    home: Workspace,
    program: PathBuf,
    plain: SocketAddr,
    tls: SocketAddr,
    administrator_password: String,
}

/// The entry of somebody: `uid=<name>,ou=people,…`.
pub fn person(name: &str, password: &str) -> String {
    format!(
        "dn: {}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name} of Example\nsn: {name}\n\
         mail: {name}@example.test\nuserPassword: {password}\n\n",
        person_dn(name)
    )
}

/// Where somebody is.
pub fn person_dn(name: &str) -> String {
    format!("uid={name},ou=people,{BASE}")
}

/// The entry of a group of people or other groups.
pub fn group(name: &str, members: &[String]) -> String {
    let mut ldif = format!("dn: {}\nobjectClass: groupOfNames\ncn: {name}\n", group_dn(name));
    for member in members {
        let _ = writeln!(ldif, "member: {member}");
    }
    ldif.push('\n');
    ldif
}

/// Where a group is.
pub fn group_dn(name: &str) -> String {
    format!("cn={name},ou=groups,{BASE}")
}

impl Slapd {
    /// Starts it below a directory, and waits until all entries are in it.
    pub async fn start(directory: &Path, options: Options) -> Result<Self, DemoError> {
        let name = options.certified_as.as_deref();
        let slapd = Self::configured(directory, name, ADMINISTRATOR_PASSWORD, |home| settings(home, &options)).await?;
        slapd.load(&tree(&options)).await?;
        Ok(slapd)
    }

    /// Starts an empty one with a configuration that is made for its directory, where certificate.pem and
    /// key.pem are, and `data` is for the database. [`ADMINISTRATOR`] has this password there.
    pub async fn configured(
        directory: &Path,
        certified_as: Option<&str>,
        administrator_password: &str,
        configuration: impl FnOnce(&Path) -> String,
    ) -> Result<Self, DemoError> {
        let home = Workspace::at(directory)?;
        let program = find_program("slapd").ok_or(DemoError::Missing("slapd"))?;
        let (plain, tls) = (free_address()?, free_address()?);
        home.directory("data")?;
        certify(&home, &[plain, tls], certified_as)?;
        home.write("slapd.conf", &configuration(home.path()))?;
        let administrator_password = administrator_password.to_owned();
        let mut slapd = Self { process: None, home, program, plain, tls, administrator_password };
        slapd.start_again().await?;
        Ok(slapd)
    }

    /// Starts it where it was, with what it knew.
    pub async fn start_again(&mut self) -> Result<(), DemoError> {
        self.stop();
        let addresses = format!("{} {} {}", self.url(), self.tls_url(), self.socket_url());
        let configuration = self.home.path().join("slapd.conf");
        // 256: every connection and operation, without any content but names and filters.
        let arguments = ["-d", "256", "-h", &addresses, "-f", &configuration.to_string_lossy()];
        let mut process = Process::start("slapd", &self.program, &arguments, &self.home)?;
        process.ready(&Address::Unix(self.socket())).await?;
        process.ready(&Address::Tcp(self.plain)).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it; see [`Slapd::start_again`].
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Whether it still runs.
    pub fn check(&mut self) -> Result<(), DemoError> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Where it listens without TLS, or with StartTLS.
    pub const fn address(&self) -> SocketAddr {
        self.plain
    }

    /// Where it listens with TLS.
    pub const fn tls_address(&self) -> SocketAddr {
        self.tls
    }

    pub fn url(&self) -> String {
        format!("ldap://{}", self.plain)
    }

    pub fn tls_url(&self) -> String {
        format!("ldaps://{}", self.tls)
    }

    pub fn socket(&self) -> PathBuf {
        self.home.path().join("socket")
    }

    pub fn socket_url(&self) -> String {
        format!("ldapi://{}", self.socket().to_string_lossy().replace('/', "%2F"))
    }

    /// Who signed its certificate.
    pub fn authority(&self) -> PathBuf {
        self.home.path().join("authority.pem")
    }

    /// What it wrote since it was started last: a line for each connection and operation (`BIND`, `SRCH`, …).
    pub fn log(&self) -> String {
        let log = std::fs::read(self.home.path().join("slapd.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Adds entries, as the administrator.
    pub async fn load(&self, ldif: &str) -> Result<(), DemoError> {
        self.edit("ldapadd", ldif).await
    }

    /// Changes entries, as the administrator: LDIF with `changetype`.
    pub async fn modify(&self, ldif: &str) -> Result<(), DemoError> {
        self.edit("ldapmodify", ldif).await
    }

    /// Whether somebody has this password, as OpenLDAP's own tool finds.
    pub async fn has_password(&self, dn: &str, password: &str) -> bool {
        let who = ["-D", dn, "-w", password];
        self.tool("ldapwhoami", &who, "").await.is_ok()
    }

    /// Nothing of it is in a file: tests that share a directory change it at once.
    async fn edit(&self, tool: &'static str, ldif: &str) -> Result<(), DemoError> {
        self.tool(tool, &["-D", ADMINISTRATOR, "-w", &self.administrator_password], ldif).await
    }

    async fn tool(&self, tool: &'static str, arguments: &[&str], input: &str) -> Result<(), DemoError> {
        let program = find_program(tool).ok_or(DemoError::Missing(tool))?;
        let mut command = tokio::process::Command::from(self.home.command(&program));
        command.args(["-x", "-H", &self.socket_url()]).args(arguments);
        // Nothing of the system's or the user's own settings.
        command.env("LDAPNOINIT", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: std::io::Error| file_error(&program, &error.to_string());
        let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // Whoever does not read it says why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(file_error(&program, &said())) }
    }
}

fn file_error(path: &Path, message: &str) -> DemoError {
    DemoError::File { path: path.to_owned(), message: message.to_owned() }
}

/// An authority, and a certificate that it signed.
fn certify(home: &Workspace, addresses: &[SocketAddr], name: Option<&str>) -> Result<(), DemoError> {
    let here = || addresses.iter().map(|address| address.ip().to_string()).chain(["localhost".to_owned()]).collect();
    let names = name.map_or_else(here, |name| vec![name.to_owned()]);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    home.write("authority.pem", &issuer.pem())?;
    home.write("certificate.pem", &certificate.pem())?;
    home.write("key.pem", &key.serialize_pem())?;
    Ok(())
}

fn settings(home: &Path, options: &Options) -> String {
    let path = home.display();
    let mut text = String::new();
    for schema in ["core", "cosine", "inetorgperson"] {
        let _ = writeln!(text, "include {SCHEMA}/{schema}.schema");
    }
    let policy = if options.policy {
        format!("overlay ppolicy\nppolicy_default cn=policy,{BASE}\nppolicy_hash_cleartext\n")
    } else {
        String::new()
    };
    let Options { settings, tree_settings, .. } = options;
    let _ = write!(
        text,
        r#"pidfile {path}/pid
argsfile {path}/arguments
modulepath {MODULES}
moduleload back_mdb
moduleload memberof
moduleload refint
moduleload ppolicy
moduleload argon2
TLSCACertificateFile {path}/authority.pem
TLSCertificateFile {path}/certificate.pem
TLSCertificateKeyFile {path}/key.pem
{settings}
database mdb
suffix "{BASE}"
directory {path}/data
dbnosync
maxsize 16777216
rootdn "{ADMINISTRATOR}"
rootpw "{ADMINISTRATOR_PASSWORD}"
index objectClass,uid,mail,member eq
access to attrs=userPassword by self write by anonymous auth by * none
access to * by dn.exact="{READER}" read by self read by users read by * none
overlay memberof
memberof-refint TRUE
{policy}{tree_settings}
"#
    );
    text
}

fn tree(options: &Options) -> String {
    let mut ldif = format!(
        "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
         dn: {READER}\nobjectClass: person\ncn: reader\nsn: reader\nuserPassword: {READER_PASSWORD}\n\n"
    );
    for unit in ["people", "groups"] {
        let _ = write!(ldif, "dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n\n");
    }
    if options.policy {
        let _ = write!(
            ldif,
            "dn: cn=policy,{BASE}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: policy\n\
             pwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: {MOST_FAILURES}\npwdCheckQuality: 2\n\
             pwdMinLength: {SHORTEST_PASSWORD}\npwdSafeModify: FALSE\n\n"
        );
    }
    ldif.push_str(&options.ldif);
    ldif
}
