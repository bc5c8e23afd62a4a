//! A portal changes a password: from the API to the application's command line, and to the next sign-in.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fakes;
#[expect(dead_code, unused_imports, reason = "other tests use more of it")]
mod support;

use std::net::SocketAddr;

use fakes::axigen::{Axigen, Person};
use fakes::axigen_cli::{AxigenCli, Fault, Server};
use keyward::demo::process::free_address;
use keyward::domain::{DerivationKey, ExposeSecret, Secret};
use serde_json::{Value, json};
use support::{APP_PORTAL, Answer, Ask, Door, House, Setup, Sidecar, Ticket, until};

const KEY: &str = "00112233445566778899aabbccddeeff";
const OTHER_KEY: &str = "another-key-of-thirty-two-bytes-or-more";
const ANA: &str = "ana@example.test";
const OLD: &str = "the old password";
const NEW: &str = "the n3w 'password' #1";
const DERIVE: &str = "a secret to derive from, of more than thirty-two bytes";

/// Keyward between a portal and three applications; `mail` and `post` keep accounts, `files` does not.
struct World {
    keyward: Sidecar,
    mail: Axigen,
    mail_cli: AxigenCli,
    post: Axigen,
    post_address: SocketAddr,
    files: Axigen,
}

async fn axigen() -> Axigen {
    Axigen::start(vec![Person::new(ANA, OLD, "Ana")]).await.unwrap()
}

impl World {
    async fn start(more_of_post: &str) -> Self {
        let (mail, post, files) = (axigen().await, axigen().await, axigen().await);
        let mail_cli = AxigenCli::start(Server::default(), mail.mailboxes()).await.unwrap();
        // Nobody is there yet.
        let post_address = free_address().unwrap();
        let Server { user, password, .. } = Server::default();
        let backend = |name: &str, url: &str, cli: Option<SocketAddr>, more: &str| {
            let accounts = cli.map_or_else(String::new, |cli| {
                format!("[backend.accounts]\naddress = \"{cli}\"\nuser = {user:?}\nsecret = {password:?}\n")
            });
            format!(
                "[[backend]]\nname = \"{name}\"\nkind = \"axigen\"\nurl = \"{url}\"\nlogin_timeout = \"4s\"\n\
                 failure_backoff = \"10ms\"\n{more}\n{accounts}"
            )
        };
        let portals = House::config("http://127.0.0.1:1", "http://127.0.0.1:1", "", "");
        let portals = &portals[..portals.find("[[backend]]").unwrap()];
        let key = |secret: &str, portal: &str| {
            format!("[[api.key]]\ncaller = \"{portal}\"\nsecret = \"{secret}\"\nportal = \"{portal}\"\n")
        };
        let route = |name: &str| {
            format!("[[route]]\nhost = \"{name}.example.test\"\nportal = \"office\"\nbackend = \"{name}\"\n")
        };
        let config = [
            key(KEY, "office"),
            key(OTHER_KEY, "post"),
            portals.to_owned(),
            backend("mail", &mail.url(), Some(mail_cli.address()), ""),
            backend("post", &post.url(), Some(post_address), more_of_post),
            backend("files", &files.url(), None, ""),
            route("mail"),
            route("post"),
            route("files"),
        ];
        let keyward = Setup::new(&config.concat()).environment("RUST_LOG", "trace").with_api().start().await;
        Self { keyward, mail, mail_cli, post, post_address, files }
    }

    /// The command line of `post`, which was down.
    async fn post_comes_up(&self) -> AxigenCli {
        AxigenCli::start_at(self.post_address, Server::default(), self.post.mailboxes()).await.unwrap()
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_as(KEY, method, path, body).await
    }

    async fn call_as(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n{kind}Content-Length: {length}\r\n\r\n"
        );
        self.keyward.call(format!("{head}{body}")).await
    }

    async fn set_password(&self, password: &str) -> Answer {
        let body = json!({ "password": password }).to_string();
        self.call("PUT", "/v1/accounts/ana%40example.test/password", &body).await
    }

    /// What somebody with this ticket is told at an application.
    async fn ask(&self, host: &str, ticket: &Ticket) -> Answer {
        let ask = Ask::get(format!("https://{host}.example.test/")).cookie(ticket.cookie());
        self.keyward.ask(Door::AuthRequest, &ask).await
    }

    async fn waiting(&self, backend: &str) -> f64 {
        self.keyward.metric(&format!("keyward_account_changes_waiting{{backend=\"{backend}\"}}")).await
    }

    async fn changes(&self, backend: &str, change: &str, outcome: &str) -> f64 {
        let labels = format!("backend=\"{backend}\",change=\"{change}\",outcome=\"{outcome}\"");
        self.keyward.metric(&format!("keyward_account_changes_total{{{labels}}}")).await
    }
}

fn ticket(sid: &str, password: &str) -> Ticket {
    Ticket::of(ANA).portal(APP_PORTAL).sid(sid).password(password)
}

fn outcomes(answer: &Answer) -> Vec<(String, String)> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let backends = body["backends"].as_array().unwrap_or_else(|| panic!("{body}"));
    backends.iter().map(|report| (text(&report["backend"]), text(&report["outcome"]))).collect()
}

fn said(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(backend, outcome)| ((*backend).to_owned(), (*outcome).to_owned())).collect()
}

const SID: &str = "session-of-ana-0000001";

#[tokio::test]
async fn a_new_password_reaches_every_application_and_the_next_sign_in_uses_it() {
    let world = World::start("").await;
    for host in ["mail", "post", "files"] {
        world.ask(host, &ticket(SID, OLD)).await.assert_allows(ANA);
    }
    // Somebody who is quicker than the portal is refused, and that is remembered.
    assert_eq!(world.ask("mail", &ticket("another-session-of-ana", NEW)).await.status, 403);
    assert_eq!(world.mail.attempts(ANA), 2);

    let answer = world.set_password(NEW).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.one("Cache-Control"), "no-store");
    assert_eq!(outcomes(&answer), said(&[("mail", "done"), ("post", "pending")]));
    assert_eq!(world.mail_cli.password(ANA).as_deref(), Some(NEW));

    until("the old sessions end", || async { world.mail.sessions() == 0 && world.files.sessions() == 0 }).await;
    assert_eq!(world.post.sessions(), 1, "where the old password is still the right one, its session goes on");
    let by_account = |line: &Value| line["message"] == "signed out" && line["by"] == "account";
    assert_eq!(world.keyward.log_lines().into_iter().filter(by_account).count(), 2, "one for each application");
    // The new password works at once, whatever was remembered of it.
    world.ask("mail", &ticket("another-session-of-ana", NEW)).await.assert_allows(ANA);
    world.ask("mail", &ticket(SID, NEW)).await.assert_allows(ANA);
    assert_eq!(world.waiting("post").await, 1.0);

    let post_cli = world.post_comes_up().await;
    until("the change is made", || async { world.waiting("post").await == 0.0 }).await;
    assert_eq!(post_cli.password(ANA).as_deref(), Some(NEW));
    until("the old session ends", || async { world.post.sessions() == 0 }).await;
    world.ask("post", &ticket(SID, NEW)).await.assert_allows(ANA);
    for (backend, outcome, count) in
        [("mail", "done", 1.0), ("mail", "pending", 0.0), ("post", "pending", 1.0), ("post", "done", 1.0)]
    {
        assert_eq!(world.changes(backend, "password", outcome).await, count, "{backend} {outcome}");
    }
    let log = world.keyward.log();
    assert!(log.contains("account changed at the back-end"), "{log}");
    for secret in [OLD, NEW, "n3w", "administrator's", "UPDATE ACCOUNT"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn accounts_are_made_and_removed() {
    let world = World::start("").await;
    let post_cli = world.post_comes_up().await;
    let answer = world.call("PUT", "/v1/accounts/cleo@example.test", "{\"password\":\"first\"}").await;
    assert_eq!((answer.status, outcomes(&answer)), (200, said(&[("mail", "done"), ("post", "done")])));
    for cli in [&world.mail_cli, &post_cli] {
        assert_eq!(cli.password("cleo@example.test").as_deref(), Some("first"));
    }
    let cleo = Ticket::of("cleo@example.test").portal(APP_PORTAL).password("first");
    world.ask("mail", &cleo).await.assert_allows("cleo@example.test");
    let answer = world.call("DELETE", "/v1/accounts/cleo%40example.test", "").await;
    assert_eq!((answer.status, outcomes(&answer)), (200, said(&[("mail", "done"), ("post", "done")])));
    assert_eq!(world.mail_cli.password("cleo@example.test"), None);
    until("the session ends", || async { world.mail.sessions() == 0 }).await;
    assert_eq!(world.ask("mail", &cleo).await.status, 403);
}

#[tokio::test]
async fn where_passwords_are_derived_accounts_get_theirs_and_no_other() {
    let derive = format!("credentials = \"derived\"\n[[backend.derive]]\nid = \"a\"\nsecret = {DERIVE:?}");
    let world = World::start(&derive).await;
    let post_cli = world.post_comes_up().await;
    let derived = DerivationKey::new("a", &Secret::from(DERIVE)).unwrap().password(ANA);
    assert_eq!(world.ask("post", &ticket(SID, OLD)).await.status, 403, "the mailbox has another password");
    let answer = world.call("PUT", "/v1/accounts/ana@example.test", "{\"password\":\"for mail\"}").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(post_cli.password(ANA).as_deref(), Some(derived.expose_secret()));
    assert_eq!(world.mail_cli.password(ANA).as_deref(), Some("for mail"));
    world.ask("post", &ticket(SID, OLD)).await.assert_allows(ANA);
    let answer = world.set_password(NEW).await;
    assert_eq!((answer.status, outcomes(&answer)), (200, said(&[("mail", "done")])));
    assert_eq!(post_cli.password(ANA).as_deref(), Some(derived.expose_secret()));
    until("the old session ends there, too", || async { world.post.sessions() == 0 }).await;
}

#[tokio::test]
async fn a_refusal_by_one_is_told_with_what_became_of_it_at_the_others() {
    let world = World::start("").await;
    let post_cli = world.post_comes_up().await;
    post_cli.misbehave(Some(Fault::Refuse(5)));
    let answer = world.set_password(NEW).await;
    assert_eq!((answer.status, outcomes(&answer)), (409, said(&[("mail", "done"), ("post", "refused")])));
    assert_eq!(answer.one("Content-Type"), "application/problem+json");
    assert!(answer.text().contains("the password was not accepted"), "{answer:?}");
    assert_eq!(world.waiting("post").await, 0.0, "a refusal is not tried again");
}

#[tokio::test]
async fn what_cannot_be_done_everywhere_is_begun_nowhere() {
    let world = World::start("").await;
    let path = "/v1/accounts/ana@example.test/password";
    for (method, path, body, status) in [
        ("PUT", path, json!({ "password": "a\r\nCOMMIT" }).to_string(), 422),
        ("PUT", path, json!({ "password": "" }).to_string(), 422),
        ("PUT", path, json!({ "password": "x".repeat(5000) }).to_string(), 422),
        ("PUT", path, json!({ "password": 1 }).to_string(), 422),
        ("PUT", path, json!({ "password": null }).to_string(), 422),
        ("PUT", path, "{\"password\":\"a\",\"password\":\"b\"}".to_owned(), 422),
        ("PUT", path, json!({ "password": "a", "more": 1 }).to_string(), 422),
        ("PUT", path, "{}".to_owned(), 422),
        ("PUT", path, "[\"marked\"]".to_owned(), 422),
        ("PUT", path, "nonsense".to_owned(), 422),
        ("PUT", path, String::new(), 415),
        ("PUT", "/v1/accounts/ana/password", json!({ "password": "a" }).to_string(), 422),
        ("PUT", "/v1/accounts/%0Aana@example.test/password", json!({ "password": "a" }).to_string(), 422),
        ("PUT", "/v1/accounts/%22@example.test/password", json!({ "password": "a" }).to_string(), 422),
        ("PUT", "/v1/accounts/%FF/password", json!({ "password": "a" }).to_string(), 422),
        ("PUT", "/v1/accounts//password", json!({ "password": "a" }).to_string(), 422),
        ("PUT", "/v1/accounts/ana@example.test?mail=x", json!({ "password": "a" }).to_string(), 422),
        ("PUT", "/v1/accounts/ana@example.test", "{}".to_owned(), 422),
        ("DELETE", "/v1/accounts/ana@example.test", "{}".to_owned(), 400),
        ("POST", path, json!({ "password": "a" }).to_string(), 405),
        ("GET", "/v1/accounts/ana@example.test", String::new(), 405),
    ] {
        let answer = world.call(method, path, &body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
        assert_eq!(answer.one("Content-Type"), "application/problem+json");
        assert!(!answer.text().contains("COMMIT") && !answer.text().contains("marked"), "{}", answer.text());
    }
    assert_eq!(world.mail_cli.lines().len(), 0);
    assert_eq!(world.mail_cli.password(ANA).as_deref(), Some(OLD));
    let body = json!({ "password": NEW }).to_string();
    assert_eq!(world.call_as("no key", "PUT", path, &body).await.status, 401);
    let answer = world.call_as(OTHER_KEY, "PUT", path, &body).await;
    assert_eq!((answer.status, outcomes(&answer)), (200, vec![]), "another portal's accounts are not its own");
    let answer = world.call_as(OTHER_KEY, "DELETE", "/v1/accounts/ana@example.test", "").await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(world.mail_cli.password(ANA).as_deref(), Some(OLD));
}

#[tokio::test]
async fn a_newer_change_takes_the_place_of_one_that_waits() {
    let world = World::start("").await;
    for password in ["first", "second", "third"] {
        assert_eq!(outcomes(&world.set_password(password).await), said(&[("mail", "done"), ("post", "pending")]));
        assert_eq!(world.mail_cli.password(ANA).as_deref(), Some(password));
    }
    assert_eq!(world.waiting("post").await, 1.0);
    assert_eq!(world.changes("post", "password", "replaced").await, 2.0);
    let post_cli = world.post_comes_up().await;
    until("the change is made", || async { world.waiting("post").await == 0.0 }).await;
    assert_eq!(post_cli.password(ANA).as_deref(), Some("third"));
    assert_eq!(post_cli.lines().iter().filter(|line| line.starts_with("SET password")).count(), 1);
}

#[tokio::test]
async fn a_name_is_not_given_anew_while_its_mailbox_waits_to_be_removed() {
    let world = World::start("").await;
    let answer = world.call("DELETE", "/v1/accounts/ana@example.test", "").await;
    assert_eq!((answer.status, outcomes(&answer)), (202, said(&[("mail", "done"), ("post", "pending")])));
    let answer = world.call("PUT", "/v1/accounts/ana@example.test", "{\"password\":\"x\"}").await;
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("back-end post"), "{}", answer.text());
    assert_eq!(world.mail_cli.password(ANA), None, "nothing was begun");
    let _post_cli = world.post_comes_up().await;
    until("it is removed", || async { world.waiting("post").await == 0.0 }).await;
    let answer = world.call("PUT", "/v1/accounts/ana@example.test", "{\"password\":\"x\"}").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn what_is_not_done_when_the_process_ends_is_told_without_the_password() {
    let mut world = World::start("").await;
    assert_eq!(world.set_password(NEW).await.status, 202);
    world.keyward.signal("TERM");
    assert!(world.keyward.ended().await.success());
    let lines = world.keyward.log_lines();
    let lost: Vec<_> =
        lines.iter().filter(|line| line.to_string().contains("account change not done, and lost")).collect();
    assert_eq!(lost.len(), 1);
    let line = lost[0].to_string();
    assert!(line.contains("post") && line.contains(ANA) && !line.contains(NEW), "{line}");
}

#[tokio::test]
async fn a_reload_keeps_what_waits() {
    let world = World::start("").await;
    assert_eq!(world.set_password(NEW).await.status, 202);
    let config = std::fs::read_to_string(world.keyward.config()).unwrap();
    std::fs::write(world.keyward.config(), config.replace("login_timeout = \"4s\"", "login_timeout = \"5s\"")).unwrap();
    world.keyward.reload("applied").await;
    assert_eq!(world.waiting("post").await, 1.0);
    let post_cli = world.post_comes_up().await;
    until("the change is made", || async { world.waiting("post").await == 0.0 }).await;
    assert_eq!(post_cli.password(ANA).as_deref(), Some(NEW));
}
