//! The command line of the kind `axigen` against its stand-in: passwords, and accounts themselves.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fakes;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fakes::axigen::{Mailboxes, Person};
use fakes::axigen_cli::{Acceptor, AxigenCli, Fault, Server};
use keyward::backend::{AccountChange, AccountRefusal, Guarded, KINDS, Profile};
use keyward::config::Section;
use keyward::domain::{BackendLimits, Clock, CredentialSource, LoginName, Outage, Secret, SystemClock};
use keyward::observe::Metrics;
use keyward::wire::Wire;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const ANA: &str = "ana@example.test";
const OLD: &str = "the old password";
const NEW: &str = "n3w pass#1";

fn mailboxes() -> Mailboxes {
    Arc::new(Mutex::new(vec![Person::new(ANA, OLD, "Ana"), Person::new("ben@other.test", OLD, "Ben")]))
}

async fn cli(server: Server) -> AxigenCli {
    AxigenCli::start(server, mailboxes()).await.unwrap()
}

fn settings(address: &str, more: &str) -> String {
    let Server { user, password, .. } = Server::default();
    format!("[accounts]\naddress = \"{address}\"\nuser = {user:?}\nsecret = {password:?}\n{more}")
}

fn backend(settings: &str) -> Arc<Guarded> {
    backend_with(settings, Duration::from_millis(1))
}

fn backend_with(settings: &str, failure_backoff: Duration) -> Arc<Guarded> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let url: url::Url = "http://127.0.0.1:1".parse().unwrap();
    let mut section = Section::from_toml(settings).unwrap();
    let kind = KINDS.iter().find(|kind| kind.name == "axigen").unwrap();
    let wire = Wire::new(url.clone(), None, Duration::from_secs(1), Arc::clone(&clock)).unwrap();
    let backend = (kind.build)(&mut section, wire);
    assert_eq!(section.mistakes(), vec![], "{settings}");
    let limits = BackendLimits { login_timeout: Duration::from_secs(2), failure_backoff, ..BackendLimits::default() };
    let (name, kind) = ("mail".to_owned(), "axigen".to_owned());
    let (credentials, login) = (CredentialSource::Portal, LoginName::default());
    let profile = Profile { name, kind, url, credentials, login, limits, roles: Vec::new() };
    Guarded::new(profile, backend, &Metrics::new(), clock)
}

fn to(cli: &AxigenCli, more: &str) -> Arc<Guarded> {
    backend(&settings(&cli.address().to_string(), more))
}

async fn change(backend: &Guarded, login: &str, change: &AccountChange) -> Result<Result<(), AccountRefusal>, Outage> {
    backend.change_account(backend.change_place().await, login, change).await
}

fn password(text: &str) -> AccountChange {
    AccountChange::Password(Secret::from(text))
}

fn put(text: &str) -> AccountChange {
    AccountChange::Put(Secret::from(text))
}

#[tokio::test]
async fn a_password_is_set_in_every_spelling_of_the_server() {
    for (new_prompts, keyword, owns_domain) in
        [(false, "password", true), (true, "password", true), (false, "passwd", true), (false, "password", false)]
    {
        let cli = cli(Server { new_prompts, keyword: keyword.to_owned(), owns_domain, ..Server::default() }).await;
        let backend = to(&cli, &format!("password_keyword = {keyword:?}"));
        assert_eq!(change(&backend, ANA, &password(NEW)).await, Ok(Ok(())), "{keyword}");
        assert_eq!(cli.password(ANA).as_deref(), Some(NEW));
        assert_eq!(change(&backend, ANA, &password(NEW)).await, Ok(Ok(())), "a second time does no harm");
    }
}

#[tokio::test]
async fn what_is_said_is_what_is_documented() {
    let cli = cli(Server::default()).await;
    change(&to(&cli, ""), ANA, &password("it's \"new\" \\")).await.unwrap().unwrap();
    let lines = cli.lines();
    let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|line| *line != "QUIT").collect();
    assert_eq!(
        lines,
        [
            "USER keyward",
            "the administrator's \"own\" pass",
            "UPDATE DOMAIN NAME \"example.test\"",
            "UPDATE ACCOUNT NAME \"ana\"",
            "SET password it\\'s\\ \\\"new\\\"\\ \\\\",
            "SET mustChangePass no",
            "COMMIT",
            "COMMIT",
        ]
    );
}

#[tokio::test]
async fn hostile_passwords_arrive_intact_or_not_at_all() {
    let cli = cli(Server::default()).await;
    let backend = to(&cli, "clear_must_change = false");
    for text in [
        "a&b=c;d",
        "'",
        "''",
        "\"",
        "\\",
        "\\\\'",
        "it's",
        " blanks around ",
        "' COMMIT '",
        "x' passwd 'y",
        "\\' \\\" \\\\ end",
        "žluťoučký kůň 李 🦀🔑",
        "#",
        "<#> ",
        "+OK: done",
        "-ERR",
        "0",
    ] {
        for new in [password(text), put(text)] {
            assert_eq!(change(&backend, ANA, &new).await, Ok(Ok(())), "{text}");
            assert_eq!(cli.password(ANA).as_deref(), Some(text));
        }
    }
    let before = cli.lines().len();
    for text in ["", "a\r\nCOMMIT", "a\nb", "a\0", "\u{1b}[2J", "\u{85}", &"x".repeat(300)] {
        assert_eq!(backend.foresees_change(ANA, &password(text)), Some(AccountRefusal::Unsendable), "{text:?}");
        assert_eq!(change(&backend, ANA, &password(text)).await, Ok(Err(AccountRefusal::Unsendable)));
    }
    for login in ["", "@", "ana", "a b@example.test", "ana@exa mple", "a\"@example.test", "a@b@example.test", "*@x"] {
        assert_eq!(backend.foresees_change(login, &password(NEW)), Some(AccountRefusal::Name), "{login:?}");
        assert_eq!(change(&backend, login, &password(NEW)).await, Ok(Err(AccountRefusal::Name)));
    }
    assert_eq!(cli.lines().len(), before, "nothing was sent");
}

#[tokio::test]
async fn accounts_come_and_go_and_a_second_time_does_no_harm() {
    let cli = cli(Server::default()).await;
    let backend = to(&cli, "domain = \"example.test\"");
    for (login, wanted, password) in [
        ("carla@example.test", put("first"), Some("first")),
        ("carla@example.test", put("second"), Some("second")),
        ("Carla", put("third"), Some("third")),
        ("carla@example.test", AccountChange::Remove, None),
        ("carla@example.test", AccountChange::Remove, None),
    ] {
        assert_eq!(change(&backend, login, &wanted).await, Ok(Ok(())), "{login} {wanted:?}");
        assert_eq!(cli.password("carla@example.test").as_deref(), password);
    }
    assert_eq!(cli.password(ANA).as_deref(), Some(OLD));
}

#[tokio::test]
async fn a_refusal_is_no_outage_and_changes_nothing() {
    let cli = cli(Server { shortest_password: 8, ..Server::default() }).await;
    let backend = to(&cli, "");
    for (login, wanted, refusal) in [
        ("nobody@example.test", password(NEW), AccountRefusal::NoAccount),
        ("ben@other.test", password(NEW), AccountRefusal::NoDomain),
        ("ben@other.test", AccountChange::Remove, AccountRefusal::NoDomain),
        (ANA, password("short"), AccountRefusal::Password),
        ("new@example.test", put("short"), AccountRefusal::Change),
    ] {
        assert_eq!(change(&backend, login, &wanted).await, Ok(Err(refusal)), "{login}");
    }
    assert_eq!(cli.password(ANA).as_deref(), Some(OLD));
    assert_eq!(cli.password("new@example.test"), None);
    assert_eq!(cli.password("ben@other.test").as_deref(), Some(OLD));
}

#[tokio::test]
async fn an_error_at_any_step_commits_nothing() {
    for step in 1..=8 {
        let cli = cli(Server::default()).await;
        cli.misbehave(Some(Fault::Refuse(step)));
        let outcome = change(&to(&cli, ""), ANA, &password(NEW)).await;
        let committed = cli.password(ANA).as_deref() == Some(NEW);
        assert_eq!(outcome == Ok(Ok(())), committed, "step {step}: {outcome:?}");
        assert_eq!(committed, step == 8, "step {step}: {outcome:?}");
        assert_eq!(outcome.is_err(), step <= 2, "step {step}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_misbehaves_is_an_outage_and_tells_no_secret() {
    let misbehaves = async |fault: Fault, step: usize| {
        let cli = cli(Server::default()).await;
        cli.misbehave(Some(fault));
        let outcome = change(&to(&cli, ""), ANA, &password(NEW)).await;
        let Err(outage) = &outcome else { panic!("{fault:?} is {outcome:?}") };
        if step < 7 {
            assert_eq!(cli.password(ANA).as_deref(), Some(OLD), "{fault:?}");
        }
        let said = format!("{outage} {outage:?} {:?}", password(NEW));
        for secret in [NEW, OLD, "administrator's", "ana"] {
            assert!(!said.contains(secret), "{said}");
        }
    };
    let steps = (0..=7).flat_map(|step| {
        let faults = [Fault::Close, Fault::ObeyAndClose, Fault::Hang, Fault::Garbage, Fault::EndlessLine];
        let faults = faults.into_iter().chain([Fault::EndlessLines, Fault::WrongContext]);
        faults.map(move |fault: fn(usize) -> Fault| misbehaves(fault(step), step)).collect::<Vec<_>>()
    });
    futures_util::future::join_all(steps).await;
}

#[tokio::test]
async fn a_change_whose_fate_was_unknown_can_be_made_again() {
    let cli = cli(Server::default()).await;
    let backend = to(&cli, "");
    cli.misbehave(Some(Fault::ObeyAndClose(7)));
    assert!(change(&backend, ANA, &password(NEW)).await.is_err());
    assert_eq!(cli.password(ANA).as_deref(), Some(NEW), "it was done");
    cli.misbehave(None);
    let mut again = change(&backend, ANA, &password(NEW)).await;
    while matches!(again, Err(Outage::BackingOff { .. })) {
        tokio::task::yield_now().await;
        again = change(&backend, ANA, &password(NEW)).await;
    }
    assert_eq!(again, Ok(Ok(())));
}

#[tokio::test]
async fn a_refused_administrator_is_an_outage_and_is_not_tried_again_at_once() {
    let cli = cli(Server { password: "another".to_owned(), ..Server::default() }).await;
    let backend = backend_with(&settings(&cli.address().to_string(), ""), Duration::from_secs(60));
    let outcome = change(&backend, ANA, &password(NEW)).await;
    let Err(Outage::Protocol(message)) = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("[backend.accounts]"), "{message}");
    let lines = cli.lines().len();
    let again = change(&backend, ANA, &password(NEW)).await;
    assert!(matches!(again, Err(Outage::BackingOff { .. })), "{again:?}");
    assert_eq!((cli.sign_ins(), cli.lines().len()), (0, lines));
}

#[tokio::test]
async fn many_changes_at_once_use_one_connection() {
    let cli = cli(Server::default()).await;
    let backend = to(&cli, "");
    let logins: Vec<String> = (0..20).map(|number| format!("p{number}@example.test")).collect();
    let new = put(NEW);
    let changes = logins.iter().map(|login| change(&backend, login, &new));
    for outcome in futures_util::future::join_all(changes).await {
        assert_eq!(outcome, Ok(Ok(())));
    }
    // The next may come while the last one's leave is still on its way.
    assert!(cli.most_connections() <= 2, "{}", cli.most_connections());
}

/// An authority's certificate in PEM, and a listener whose certificate it signed for this name.
fn authority(name: &str) -> (String, Acceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (issuer.pem(), Acceptor(TlsAcceptor::from(Arc::new(config))))
}

#[tokio::test]
async fn over_tls_only_to_whom_the_authority_vouches_for() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, acceptor) = authority("127.0.0.1");
    let (stranger, _) = authority("127.0.0.1");
    let (elsewhere, other_name) = authority("axigen.example.test");
    for (pem, acceptor, trusted) in
        [(ours, acceptor.clone(), true), (stranger, acceptor, false), (elsewhere, other_name, false)]
    {
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, pem).unwrap();
        let cli = cli(Server { tls: Some(acceptor), ..Server::default() }).await;
        let more = format!("tls = true\nca_file = {:?}", file.to_str().unwrap());
        let outcome = change(&to(&cli, &more), ANA, &password(NEW)).await;
        assert_eq!(outcome == Ok(Ok(())), trusted, "{outcome:?}");
        assert_eq!(matches!(outcome, Err(Outage::Protocol(_))), !trusted, "{outcome:?}");
        assert_eq!(cli.lines().is_empty(), !trusted, "no word before trust");
    }
}

#[tokio::test]
async fn a_server_without_tls_hears_no_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, authority("127.0.0.1").0).unwrap();
    let cli = cli(Server::default()).await;
    let more = format!("tls = true\nca_file = {:?}", file.to_str().unwrap());
    let outcome = change(&to(&cli, &more), ANA, &password(NEW)).await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(cli.lines().is_empty());
}

#[test]
fn settings_that_would_break_changes_are_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let ca = format!("tls = true\nca_file = {:?}", empty.to_str().unwrap());
    for (more, key) in [
        ("address = 'nowhere'", "accounts.address"),
        ("address = 'h:0'", "accounts.address"),
        ("tls = true", "accounts.ca_file"),
        ("ca_file = 'x'", "accounts.ca_file"),
        (ca.as_str(), "accounts.ca_file"),
        ("user = 'a b'", "accounts.user"),
        ("secret = \"a\\nb\"", "accounts.secret"),
        ("domain = 'a b'", "accounts.domain"),
        ("password_keyword = 'pw'", "accounts.password_keyword"),
        ("nonsense = 1", "accounts.nonsense"),
    ] {
        let mut text = "[accounts]\n".to_owned();
        for line in ["address = '127.0.0.1:1'", "user = 'keyward'", "secret = 'x'"] {
            let key = line.split(' ').next().unwrap();
            if !more.starts_with(key) {
                text += &format!("{line}\n");
            }
        }
        let mut section = Section::from_toml(&format!("{text}{more}")).unwrap();
        let kind = KINDS.iter().find(|kind| kind.name == "axigen").unwrap();
        let clock = Arc::new(SystemClock::new());
        let wire = Wire::new("http://127.0.0.1:1".parse().unwrap(), None, Duration::from_secs(1), clock).unwrap();
        let _ = (kind.build)(&mut section, wire);
        let keys: Vec<String> = section.mistakes().into_iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, [key], "{more}");
    }
}
