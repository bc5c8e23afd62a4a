use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::backend::{Attempt, Login, Refusal};
use crate::config::Section;
use crate::domain::{Client, ManualClock, Person, SessionHandle};

/// A back-end that says what it is told to, when it is told to.
#[derive(Default)]
struct Scripted {
    calls: AtomicUsize,
    open: Notify,
    waits: bool,
    outcomes: Mutex<Vec<Result<Login, Outage>>>,
}

struct Shared(Arc<Scripted>);

impl Backend for Shared {
    fn foresees(&self, attempt: &Attempt) -> Option<Refusal> {
        attempt.login.is_empty().then_some(Refusal::Credentials)
    }

    fn login<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<Login, Outage>> {
        Box::pin(async {
            self.0.calls.fetch_add(1, Ordering::SeqCst);
            if self.0.waits {
                self.0.open.notified().await;
            }
            self.0.outcomes.lock().pop().unwrap_or(Ok(Login::Refused(Refusal::Credentials)))
        })
    }

    fn check<'a>(&'a self, _: &'a SessionKeys) -> BoxFuture<'a, Result<Liveness, Outage>> {
        Box::pin(async {
            self.0.open.notified().await;
            Ok(Liveness::Alive)
        })
    }

    fn logout<'a>(&'a self, _: &'a SessionKeys) -> BoxFuture<'a, Result<(), Outage>> {
        Box::pin(async { Ok(()) })
    }

    fn owns_cookie(&self, _: &[u8]) -> bool {
        false
    }
}

struct Stage {
    clock: Arc<ManualClock>,
    script: Arc<Scripted>,
    metrics: Metrics,
    guarded: Arc<Guarded>,
}

fn profile(roles: &[(&str, &str)]) -> Profile {
    let second = Duration::from_secs(1);
    Profile {
        name: "mail".to_owned(),
        kind: "axigen".to_owned(),
        url: Url::parse("http://127.0.0.1:1/").unwrap(),
        credentials: CredentialSource::Portal,
        login: LoginName::parse("{sub}").unwrap(),
        limits: BackendLimits {
            login_timeout: 10 * second,
            max_logins: 2,
            idle_timeout: 900 * second,
            max_age: 216_000 * second,
            keep_alive_interval: 300 * second,
            refused_for: 300 * second,
            failure_backoff: 2 * second,
        },
        roles: roles.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(0))
}

fn stage(script: Scripted) -> Stage {
    let (clock, script, metrics) = (Arc::new(ManualClock::at(0)), Arc::new(script), Metrics::new());
    let backend = Box::new(Shared(Arc::clone(&script)));
    let guarded = Guarded::new(profile(&[]), backend, &metrics, Arc::clone(&clock) as Arc<dyn Clock>);
    Stage { clock, script, metrics, guarded }
}

fn attempt() -> Attempt {
    let client = Client {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: Cow::Borrowed(b""),
        accept_language: Cow::Borrowed(b""),
    };
    let session = SessionHandle { portal: "p".to_owned(), id: "s".to_owned() };
    let person = Person { session, identity: Identity::new("ana", "", "", vec![]).unwrap(), expires: 1 };
    Attempt { login: "ana".to_owned(), password: None, client, person: Arc::new(person), roles: Vec::new() }
}

fn keys() -> SessionKeys {
    SessionKeys::builder().cookie("k", "v").unwrap().build().unwrap()
}

#[tokio::test]
async fn a_refusal_that_asked_nobody_does_not_end_the_pause() {
    let stage = stage(Scripted::default());
    stage.script.outcomes.lock().push(Err(Outage::TimedOut));
    assert_eq!(stage.guarded.login(&attempt()).await.err(), Some(Outage::TimedOut));
    let nobody = Attempt { login: String::new(), ..attempt() };
    assert!(matches!(stage.guarded.login(&nobody).await, Ok(Login::Refused(_))));
    assert!(matches!(stage.guarded.login(&attempt()).await, Err(Outage::BackingOff { .. })));
    stage.clock.advance(Duration::from_secs(3));
    assert!(matches!(stage.guarded.login(&nobody).await, Ok(Login::Refused(_))));
    assert_eq!(stage.guarded.metrics().up.get(), 0, "nobody has asked yet");
}

#[tokio::test]
async fn after_an_outage_logins_fail_fast_until_the_pause_is_over() {
    let stage = stage(Scripted::default());
    stage.script.outcomes.lock().push(Err(Outage::TimedOut));
    assert_eq!(stage.guarded.login(&attempt()).await.err(), Some(Outage::TimedOut));
    assert_eq!(stage.guarded.metrics().up.get(), 0);
    let fast = stage.guarded.login(&attempt()).await.err();
    assert_eq!(fast, Some(Outage::BackingOff { retry_after: Duration::from_secs(2) }));
    assert_eq!(stage.script.calls.load(Ordering::SeqCst), 1, "the back-end was left alone");
    stage.clock.advance(Duration::from_secs(2));
    assert!(stage.guarded.login(&attempt()).await.is_ok());
    assert_eq!(stage.guarded.metrics().up.get(), 1);
    let text = stage.metrics.render();
    for series in [
        r#"keyward_backend_logins_total{backend="mail",outcome="timed_out"} 1"#,
        r#"keyward_backend_logins_total{backend="mail",outcome="refused"} 1"#,
        r#"keyward_backend_logins_in_flight{backend="mail"} 0"#,
        r#"keyward_backend_login_seconds_count{backend="mail"} 2"#,
    ] {
        assert!(text.contains(series), "{series} is missing in\n{text}");
    }
}

#[tokio::test]
async fn one_locked_account_does_not_shut_out_the_others() {
    let stage = stage(Scripted::default());
    stage.script.outcomes.lock().push(Err(Outage::Locked { retry_after: None }));
    assert!(stage.guarded.login(&attempt()).await.is_err());
    assert!(stage.guarded.login(&attempt()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_login_that_takes_too_long_is_an_outage_and_gives_its_place_back() {
    let stage = stage(Scripted { waits: true, ..Scripted::default() });
    for _ in 0..3 {
        assert_eq!(stage.guarded.login(&attempt()).await.err(), Some(Outage::TimedOut));
        stage.clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_logins_at_once_than_allowed_and_dropped_ones_give_their_places_back() {
    let stage = stage(Scripted { waits: true, ..Scripted::default() });
    let (done, mut ended) = mpsc::unbounded_channel();
    let logins: Vec<_> = (0..5)
        .map(|number| {
            let (guarded, done) = (Arc::clone(&stage.guarded), done.clone());
            tokio::spawn(async move {
                let opened = guarded.login(&attempt()).await.is_ok();
                let _ = done.send((number, opened));
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(stage.guarded.metrics().logins_in_flight.get(), 2);
    logins[0].abort();
    logins[1].abort();
    tokio::task::yield_now().await;
    for number in 2..5 {
        stage.script.open.notify_one();
        assert_eq!(ended.recv().await, Some((number, true)), "in order of arrival");
    }
    assert_eq!(stage.guarded.metrics().logins_in_flight.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_checks_takes_no_places_from_logins() {
    let stage = stage(Scripted::default());
    for _ in 0..50 {
        let guarded = Arc::clone(&stage.guarded);
        tokio::spawn(async move { guarded.check(&keys()).await });
    }
    tokio::task::yield_now().await;
    assert!(stage.guarded.login(&attempt()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_failed_check_is_counted_but_opens_no_back_off() {
    let stage = stage(Scripted::default());
    assert_eq!(stage.guarded.check(&keys()).await.err(), Some(Outage::TimedOut));
    assert_eq!(stage.guarded.metrics().keep_alive_failed.get(), 1);
    assert!(stage.guarded.login(&attempt()).await.is_ok());
}

#[tokio::test]
async fn logouts_are_counted_by_cause() {
    let stage = stage(Scripted::default());
    assert!(stage.guarded.logout(&keys(), "idle").await.is_ok());
    let series = r#"keyward_logouts_total{backend="mail",cause="idle",outcome="done"} 1"#;
    assert!(stage.metrics.render().contains(series));
}

#[test]
fn settings_are_read_to_the_end_and_all_mistakes_come_out_together() {
    for (kind, text, keys) in [
        ("axigen", "", &[][..]),
        ("axigen", "host = 'webmail.example.test'\ncookie = '_hx'", &[]),
        ("axigen", "host = 'a/b'\ncookie = 'a;b'\ncolour = 'red'", &["host", "cookie", "colour"]),
        ("roundcube", "surface = 'legacy'", &["surface"]),
        ("telnet", "surface = 'legacy'", &["kind"]),
    ] {
        let mut document = Section::from_toml(&format!("[backend]\n{text}")).unwrap();
        let built = BackendPlan::read(settings(&mut document, kind, CredentialSource::Portal), &clock());
        let mistakes = document.mistakes();
        let noted: Vec<&str> = mistakes.iter().filter_map(|mistake| mistake.key.strip_prefix("backend.")).collect();
        assert_eq!(noted, keys, "{text}");
        assert_eq!(built.is_some(), keys != ["kind"], "{text}");
    }
}

#[test]
fn credentials_that_a_kind_has_no_use_for_are_a_mistake() {
    const MASTER: &str = "[backend.master]\nuser = 'm'\nsecret = 'x'";
    for (kind, credentials, text, keys) in [
        ("axigen", CredentialSource::Portal, "", &[][..]),
        ("axigen", CredentialSource::None, "", &["credentials"]),
        ("axigen", CredentialSource::Master, "", &["credentials"]),
        ("axigen", CredentialSource::Master, MASTER, &["credentials", "master"]),
        ("roundcube", CredentialSource::Master, "", &["credentials"]),
        ("roundcube", CredentialSource::Master, MASTER, &[]),
        // It is only warned of.
        ("roundcube", CredentialSource::Portal, MASTER, &[]),
        (
            "roundcube",
            CredentialSource::Master,
            "[backend.master]\nuser = 'a b'\nseparator = 'x'",
            &["master.user", "master.separator", "master.secret"],
        ),
    ] {
        let mut document = Section::from_toml(&format!("[backend]\n{text}")).unwrap();
        let _ = BackendPlan::read(settings(&mut document, kind, credentials), &clock());
        let mistakes = document.mistakes();
        let noted: Vec<&str> = mistakes.iter().filter_map(|mistake| mistake.key.strip_prefix("backend.")).collect();
        assert_eq!(noted, keys, "{kind} {credentials:?} {text}");
    }
}

/// What was written under `[backend]`, with the common keys of every test.
fn settings(document: &mut Section, kind: &str, credentials: CredentialSource) -> BackendSettings {
    let Profile { name, url, login, limits, roles, .. } = profile(&[]);
    let (kind, derivation, section) = (kind.to_owned(), Vec::new(), document.section("backend"));
    let enter = EnterTerms::default();
    BackendSettings { name, kind, url, credentials, derivation, login, limits, roles, enter, written: 0, section }
}

#[test]
fn a_back_end_is_known_by_name_kind_and_address() {
    let same = BackendId::of("mail", "axigen", "http://a/");
    assert_eq!(same, BackendId::of("mail", "axigen", "http://a/"));
    for (name, kind, url) in
        [("mai", "laxigen", "http://a/"), ("mail", "axigenh", "ttp://a/"), ("mail", "axigen", "http://b/")]
    {
        assert_ne!(same, BackendId::of(name, kind, url));
    }
}

#[test]
fn a_role_map_renames_and_drops() {
    let identity = Identity::new("ana", "", "", vec!["staff".into(), "admin".into()]).unwrap();
    for (map, roles) in [(&[][..], &["staff", "admin"][..]), (&[("admin", "root")][..], &["root"][..])] {
        let (script, metrics) = (Arc::new(Scripted::default()), Metrics::new());
        let clock = Arc::new(ManualClock::at(0));
        let guarded = Guarded::new(profile(map), Box::new(Shared(script)), &metrics, clock);
        assert_eq!(guarded.roles(&identity).collect::<Vec<_>>(), roles);
    }
}
