//! The demo's servers, wired to each other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use url::form_urlencoded::byte_serialize;

use super::fakes::axigen::{Axigen, Person as AxigenPerson};
use super::nginx::Nginx;
use super::packages::Installed;
use super::portal::{self, Link, Member};
use super::process::{Address, Process, TemporaryWorkspace, Workspace, free_address, free_port};
use super::roundcube::{Roundcube, RoundcubeOptions};
use super::{DemoError, Person, say};
use crate::domain::{ExposeSecret, Secret, SystemClock};
use crate::portal::ticket::{TicketKey, Tickets};
use crate::snippet::fill;

/// The cookie's domain. Names under `localhost` lead to this machine in every current browser; but
/// a cookie for `localhost` itself is refused like one for `com`, so all hosts have one name more.
const DOMAIN: &str = "demo.localhost";
/// The port that people remember.
const USUAL_PORT: u16 = 8080;
/// Time between two looks at the servers.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Id of the key that signs tickets.
const KEY_ID: &str = "demo";

/// Everything that runs. Fields end in order: first those that ask, last the files.
pub(super) struct House {
    nginx: Nginx,
    keyward: Process,
    roundcube: Option<Roundcube>,
    _axigen: Axigen,
    addresses: Addresses,
    workspace: TemporaryWorkspace,
}

/// Who listens where.
struct Addresses {
    public: SocketAddr,
    auth: SocketAddr,
    ops: SocketAddr,
    portal: SocketAddr,
    axigen: String,
    roundcube: Option<String>,
}

impl House {
    /// Starts all of it; `keyward` is the program itself.
    pub(super) async fn start(keyward: &Path, installed: Installed, port: Option<u16>) -> Result<Self, DemoError> {
        let public = SocketAddr::from((Ipv4Addr::LOCALHOST, public_port(port)?));
        let workspace = Workspace::temporary()?;
        let members = members();
        step("starting the portal and the stand-in for Axigen");
        let axigen = Axigen::start(members.iter().map(axigen_person).collect()).await.map_err(DemoError::StandIn)?;
        let roundcube = if installed.roundcube { start_roundcube(&workspace, &members).await } else { None };
        let secret = Secret::from(format!("hex:{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()));
        let portal = portal::start(portal_settings(public, members, &secret, roundcube.is_some())?)?;
        let addresses = Addresses {
            public,
            auth: free_address()?,
            ops: free_address()?,
            portal,
            axigen: axigen.url(),
            roundcube: roundcube.as_ref().map(Roundcube::url),
        };
        let ours = workspace.with_our_rights();
        let configuration = ours.write("keyward.toml", &addresses.keyward_toml(&secret))?;
        let arguments = ["serve", "-c", &configuration.to_string_lossy()];
        step("starting Keyward");
        let mut keyward = Process::start("keyward", keyward, &arguments, &ours)?;
        keyward.ready(&Address::Tcp(addresses.auth)).await?;
        step("starting nginx");
        let web = workspace.directory("nginx")?;
        let nginx = Nginx::start_shipped(web.path(), &addresses.site(), public).await?;
        Ok(Self { nginx, keyward, roundcube, _axigen: axigen, addresses, workspace })
    }

    /// What a person should know.
    pub(super) fn welcome(&self) -> String {
        let missing = match self.roundcube {
            Some(_) => "",
            None => "\nRoundcube does not run here, so Axigen's stand-in is the only webmail.\n",
        };
        format!(
            "\n  Open  {}\n{missing}\nKeyward's metrics: http://{}/metrics\nIts log, and everything else: {}\n\
             Ctrl-C ends it all and leaves nothing behind.",
            origin(self.addresses.public, "portal"),
            self.addresses.ops,
            self.workspace.path().display(),
        )
    }

    /// Looks after the servers, and returns when one has died.
    pub(super) async fn watch(&mut self) -> Result<(), DemoError> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            self.nginx.check()?;
            self.keyward.check()?;
            if let Some(roundcube) = &mut self.roundcube {
                roundcube.check()?;
            }
        }
    }
}

impl Addresses {
    fn keyward_toml(&self, secret: &Secret) -> String {
        let text = fill(
            include_str!("templates/keyward.toml"),
            &[
                ("AUTH", &self.auth.to_string()),
                ("OPS", &self.ops.to_string()),
                ("PORTAL", &origin(self.public, "portal")),
                ("SIGNED_OUT", &signed_out(self.public)),
                ("COOKIE", portal::COOKIE),
                ("KEY_ID", KEY_ID),
                ("SECRET", secret.expose_secret()),
                ("AXIGEN", &self.axigen),
                ("DOMAIN", DOMAIN),
            ],
        );
        let Some(roundcube) = &self.roundcube else { return text };
        let more = include_str!("templates/keyward-roundcube.toml");
        text + &fill(more, &[("ROUNDCUBE", roundcube), ("DOMAIN", DOMAIN)])
    }

    /// The demo's `site.conf`, in the shape of the one in `examples/nginx/`.
    fn site(&self) -> String {
        let Self { public, auth, portal, .. } = self;
        let upstream = |name: &str, url: &str| {
            format!("upstream {name} {{ server {}; keepalive 16; }}\n", url.trim_start_matches("http://"))
        };
        let server = |name: &str| {
            format!(
                "server {{
    listen      {public};
    server_name {name}.{DOMAIN};
    access_log  {name}.log keyward;
    client_max_body_size 32m;
    include     keyward/{name}.inc;
}}
"
            )
        };
        let mut site = "include keyward/http.conf;\n".to_owned();
        site += &upstream("keyward", &auth.to_string());
        site += &upstream("portal", &portal.to_string());
        site += &upstream("axigen", &self.axigen);
        let signed_out: String = byte_serialize(signed_out(*public).as_bytes()).collect();
        site += "map $host $keyward_scheme { default $scheme; }\n";
        site += "map $host $keyward_host { default $host:$server_port; }\n";
        site += &format!("map $host $keyward_signed_out {{ default {signed_out}; }}\n");
        site += &format!("server {{ listen {public} default_server; return 421; }}\n");
        site += &server("portal");
        site += &server("axigen");
        if let Some(roundcube) = &self.roundcube {
            site += &upstream("roundcube", roundcube);
            site += &server("roundcube");
        }
        site
    }
}

fn members() -> Vec<Member> {
    let member = |user, name, email| {
        // Nobody types it, so it need not be one that somebody could remember.
        let password = Secret::from(format!("{:032x} & \"ü\"", rand::random::<u128>()));
        Member { user, name, email, password }
    };
    vec![
        member("ana", "Ana Díaz", "ana@example.test"),
        member("ben", "Ben Okafor", "ben@example.test"),
        member("chloe", "Chloé Martin", "chloe@example.test"),
    ]
}

fn axigen_person(member: &Member) -> AxigenPerson {
    AxigenPerson::new(member.email, member.password.expose_secret(), member.name)
}

/// Roundcube, or the reason why not on standard output: the demo goes on without it.
async fn start_roundcube(workspace: &Workspace, members: &[Member]) -> Option<Roundcube> {
    let people: Vec<Person> = members
        .iter()
        .map(|member| Person {
            name: member.user.to_owned(),
            password: member.password.clone(),
            subject: format!("Welcome, {}", member.name),
        })
        .collect();
    let options = RoundcubeOptions { progress: step, ..RoundcubeOptions::default() };
    let started = match workspace.directory("webmail") {
        Ok(directory) => Roundcube::start(directory.path(), &people, &options).await,
        Err(error) => Err(error),
    };
    started.map_err(|error| say(&format!("Roundcube does not start: {error}"))).ok()
}

/// Tells what takes its time.
fn step(what: &str) {
    say(&format!("{what} …"));
}

/// The port that was asked for, if it is free; else the usual one, or any.
fn public_port(wanted: Option<u16>) -> Result<u16, DemoError> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let bind = |port| std::net::TcpListener::bind((loopback, port));
    match wanted {
        Some(port) => bind(port).map(|_| port).map_err(|source| DemoError::Port { port, source }),
        None if bind(USUAL_PORT).is_ok() => Ok(USUAL_PORT),
        None => free_port(loopback).map(|address| address.port()),
    }
}

fn origin(public: SocketAddr, name: &str) -> String {
    format!("http://{name}.{DOMAIN}:{}", public.port())
}

/// The portal's page that ends its own session.
fn signed_out(public: SocketAddr) -> String {
    format!("{}{}", origin(public, "portal"), portal::SIGNED_OUT)
}

fn portal_settings(
    public: SocketAddr,
    members: Vec<Member>,
    secret: &Secret,
    roundcube: bool,
) -> Result<portal::Settings, DemoError> {
    let address = |name: &str, path: &str| {
        Url::parse(&format!("{}{path}", origin(public, name))).map_err(|_| DemoError::Own("address"))
    };
    let axigen = Link {
        label: "Open Axigen webmail",
        url: address("axigen", "/")?,
        about: "A stand-in that speaks Axigen's login",
    };
    let mut links = vec![axigen];
    let mut note = "Each opens without a second password: Keyward signs you in on the first request.".to_owned();
    if roundcube {
        let about = "The real one, with Dovecot behind it";
        links.push(Link { label: "Open Roundcube", url: address("roundcube", "/")?, about });
    } else {
        note.push_str(" Roundcube is not installed here; the demo's option --install changes that.");
    }
    let mut sign_out = address("axigen", "/.keyward/logout")?;
    sign_out.query_pairs_mut().append_pair("post_logout_redirect_uri", &signed_out(public));
    let key = || TicketKey::new(KEY_ID, secret).map_err(|_| DemoError::Own("key"));
    Ok(portal::Settings {
        members,
        links,
        note,
        sign_out,
        domain: DOMAIN,
        key: key()?,
        tickets: Tickets::new(portal::COOKIE, vec![key()?]),
        clock: Arc::new(SystemClock::new()),
    })
}
