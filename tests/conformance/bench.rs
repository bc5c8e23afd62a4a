//! What every behaviour is tried with: a connector as the program has it, and the application behind it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use keyward::backend::{Attempt, Backend, Guarded, KINDS, Login, Outage, Profile};
use keyward::config::Section;
use keyward::domain::{BackendLimits, Client, Clock, CredentialSource, LoginName, Secret, SessionKeys, SystemClock};
use keyward::observe::Metrics;
use keyward::wire::Wire;

use super::fakes::axigen::escaped;
use super::fakes::server::{Fault, Request, forward};
use super::person::signed_in;
use super::{PATIENCE, axigen};

/// The browser.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const USER_AGENT: &[u8] = b"Mozilla/5.0 (test)";

/// Where a connector is sent: it can be told to misbehave, and remembers what it was asked.
pub trait Front: Send + Sync {
    fn url(&self) -> String;
    fn misbehave(&self, fault: Option<Fault>);
    fn requests(&self) -> Vec<Request>;

    /// Learns who signs in from now on, where the application has something to ask them.
    fn connect(&self, _connector: &Arc<Guarded>) {}
}

/// One application, ready to be signed in to. It ends when it is dropped.
pub struct Application {
    pub front: Box<dyn Front>,
    /// Everybody who has a mailbox, name and password, ana and ben first.
    pub people: Vec<(String, String)>,
    /// A page behind the login, to which the query key is added.
    pub page: &'static str,
    /// What could not be tried with it, and why.
    pub left_out: Vec<String>,
}

/// An application, and a kind that connects to it.
pub struct Bench {
    pub kind: &'static str,
    pub settings: &'static str,
    pub application: Application,
}

impl std::ops::Deref for Bench {
    type Target = Application;

    fn deref(&self) -> &Application {
        &self.application
    }
}

impl Bench {
    pub fn url(&self) -> String {
        self.front.url()
    }

    pub fn misbehave(&self, fault: Option<Fault>) {
        self.front.misbehave(fault);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.front.requests()
    }

    /// The connector as the program has it, with no memory of earlier failures.
    pub fn connector(&self, deadline: Duration) -> Arc<Guarded> {
        self.connector_to(&self.url(), deadline)
    }

    pub fn connector_to(&self, url: &str, deadline: Duration) -> Arc<Guarded> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let url = url::Url::parse(url).expect("an address");
        let backend = self.backend(&url, deadline, &clock);
        let hour = Duration::from_secs(3600);
        let limits = BackendLimits {
            login_timeout: deadline,
            max_logins: 8,
            idle_timeout: hour,
            max_age: hour,
            keep_alive_interval: hour,
            refused_for: hour,
            failure_backoff: hour,
        };
        let login = LoginName::parse("{sub}").expect("a template");
        let (name, kind) = ("mail".to_owned(), self.kind.to_owned());
        let profile =
            Profile { name, kind, url, credentials: CredentialSource::Portal, login, limits, roles: Vec::new() };
        let connector = Guarded::new(profile, backend, &Metrics::new(), clock);
        self.front.connect(&connector);
        connector
    }

    fn backend(&self, url: &url::Url, deadline: Duration, clock: &Arc<dyn Clock>) -> Box<dyn Backend> {
        let mut file = Section::from_toml(self.settings).expect("TOML");
        // A whole configuration has them in its back-end's table.
        let mut section = file.sections("backend", "name").pop().unwrap_or(file);
        let kind = KINDS.iter().find(|kind| kind.name == self.kind).expect("in the table");
        let wire = Wire::new(url.clone(), None, deadline, Arc::clone(clock)).expect("a client");
        let mut backend = (kind.build)(&mut section, wire);
        assert_eq!(section.mistakes(), vec![], "{}", self.settings);
        assert!(self.settings != axigen::TOKENS || backend.use_tokens());
        backend
    }

    /// Whether the kind says that nobody gets in without a password.
    pub fn wants_password(&self) -> bool {
        let url = url::Url::parse(&self.url()).expect("an address");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        self.backend(&url, PATIENCE, &clock).wants_password()
    }

    /// What a login is given: a password only where the kind wants one.
    pub fn attempt(&self, login: &str, password: &str) -> Attempt {
        let password = self.wants_password().then(|| Secret::from(password.to_owned()));
        Attempt { password, ..attempt(login, "") }
    }

    pub async fn login(&self, login: &str, password: &str) -> Result<Login, Outage> {
        self.connector(PATIENCE).login(&self.attempt(login, password)).await
    }

    /// Keys of one of the people.
    pub async fn keys(&self, person: usize) -> SessionKeys {
        let (login, password) = &self.people[person];
        match self.login(login, password).await {
            Ok(Login::Opened(keys)) => keys,
            other => panic!("{login} could not sign in: {other:?}"),
        }
    }

    /// Whether these keys show this person's mailbox, as the web server would send them.
    pub async fn shows(&self, keys: &SessionKeys, login: &str) -> bool {
        let mut target = self.page.to_owned();
        if !keys.query().is_empty() {
            target = format!("{target}?{}", keys.query());
        }
        let url = url::Url::parse(&self.url()).expect("an address");
        let address = url.socket_addrs(|| None).expect("an address")[0];
        let headers = vec![
            ("host".to_owned(), b"webmail.example.test".to_vec()),
            ("cookie".to_owned(), keys.cookies().as_bytes().to_vec()),
            ("authorization".to_owned(), keys.authorization().as_bytes().to_vec()),
            ("x-axigen-session".to_owned(), keys.session().as_bytes().to_vec()),
            ("user-agent".to_owned(), USER_AGENT.to_vec()),
            ("x-forwarded-for".to_owned(), ADDRESS.to_string().into_bytes()),
        ];
        // A web server removes what has no value.
        let headers = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let request = Request { method: "GET".to_owned(), target, headers, body: Vec::new() };
        let page = forward(address, &request).await.expect("a page");
        let text = String::from_utf8_lossy(&page.body).into_owned();
        page.status == 200 && text.contains(&escaped(login)) && !text.contains("type=\"password\"")
    }
}

pub fn attempt(login: &str, password: &str) -> Attempt {
    let client =
        Client { address: ADDRESS, user_agent: Cow::Borrowed(USER_AGENT), accept_language: Cow::Borrowed(b"en") };
    let (password, person) = (Some(Secret::from(password.to_owned())), signed_in(login));
    Attempt { login: login.to_owned(), password, client, person, roles: Vec::new() }
}
