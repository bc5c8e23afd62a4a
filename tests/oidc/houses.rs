//! Three replicas, people who come to whichever is nearest, and a provider that forgives nothing.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fakes::openid_provider::{CLIENT, OpenIdProvider, SECRET};
use crate::fakes::server::Fault;
use crate::real::redis::{Line, Redis};
use crate::stage::{Browser, MAIL, Stage};
use crate::support::{Address, Answer, Ask, Door, Setup, Sidecar, now, until};

/// Replicas, each with a line of its own to the store.
struct House {
    /// Whoever is on the stage, and those who are not.
    stage: Stage,
    others: Vec<Sidecar>,
    lines: Vec<Line>,
    redis: Redis,
}

impl House {
    async fn start() -> Self {
        let (redis, provider) = (Redis::start().await, OpenIdProvider::start(&[MAIL]).await.unwrap());
        let mut lines = Vec::new();
        for _ in 0..3 {
            lines.push(Line::to(redis.address()).await);
        }
        let mut all = Self::replicas(&provider, &lines).await;
        let others = all.split_off(1);
        Self { stage: Stage { keyward: all.remove(0), provider }, others, lines, redis }
    }

    async fn replicas(provider: &OpenIdProvider, lines: &[Line]) -> Vec<Sidecar> {
        let started = lines.iter().map(|line| {
            let config = format!(
                "[[route]]\nhost = \"mail.example.test\"\nportal = \"id\"\n\
                 [[portal]]\nname = \"id\"\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\n\
                 client_secret = \"{SECRET}\"\ntimeout = \"1s\"\n\
                 [store]\nkind = \"redis\"\naddresses = [\"{}\"]\n\
                 names_secret = \"one secret of thirty-two bytes!!\"\n\
                 [[store.key]]\nid = \"a\"\nsecret = \"another one of thirty-two bytes!\"\n",
                provider.issuer(),
                line.address()
            );
            async move { Setup::new(&config).start().await }
        });
        let started = join_all(started).await;
        for replica in &started {
            // Before that nobody sends people to it.
            until("readiness", || async { replica.operator("/readyz").await.status == 200 }).await;
        }
        started
    }

    /// All of them are others from now on, who remember nothing.
    async fn replace_all(&mut self) {
        for replica in std::iter::once(&self.stage.keyward).chain(&self.others) {
            replica.signal("KILL");
        }
        let mut all = Self::replicas(&self.stage.provider, &self.lines).await;
        self.others = all.split_off(1);
        self.stage.keyward = all.remove(0);
    }

    /// Puts one of the others on the stage.
    fn turn_to(&mut self, other: usize) {
        std::mem::swap(&mut self.stage.keyward, &mut self.others[other]);
    }

    fn all(&self) -> impl Iterator<Item = &Sidecar> {
        std::iter::once(&self.stage.keyward).chain(&self.others)
    }

    /// What each of them says of a browser, asked at once.
    async fn ask_all(&self, browser: &Browser) -> Vec<Answer> {
        join_all(self.all().map(|replica| ask(replica, browser))).await
    }

    async fn refused_everywhere(&self, browser: &Browser) {
        until("the end everywhere", || async { self.ask_all(browser).await.iter().all(|answer| answer.status == 401) })
            .await;
    }

    async fn call_off(&self, token: &str) -> u16 {
        let lines = ["Content-Type: application/x-www-form-urlencoded"];
        let body = format!("logout_token={token}");
        let path = "/.keyward/backchannel-logout/id";
        self.stage.send(&mut Browser::default(), "POST", path, &lines, &body).await.status
    }

    fn logout_token(&self, sid: &str) -> String {
        let provider = &self.stage.provider;
        provider.key().sign(&provider.logout_claims(None, Some(sid)))
    }
}

async fn ask(replica: &Sidecar, browser: &Browser) -> Answer {
    let cookies: Vec<String> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    replica.ask(Door::AuthRequest, &Ask::get(format!("{MAIL}/")).cookie(cookies.join("; "))).await
}

#[tokio::test]
async fn a_sign_in_that_begins_at_one_replica_ends_at_another_and_is_good_at_all() {
    let mut house = House::start().await;
    let mut browser = Browser::default();
    let begun = house.stage.begin(&mut browser, "/").await;
    let back = house.stage.provider.visit(&begun).unwrap();
    house.turn_to(0);
    let before = browser.clone();
    let answer = house.stage.go(&mut browser, &back).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    for answer in house.ask_all(&browser).await {
        answer.assert_allows("ana");
    }
    // It came back once, wherever it comes next.
    house.turn_to(1);
    let again = house.stage.go(&mut before.clone(), &back).await;
    assert_eq!(again.status, 400, "{again:?}");
    for answer in house.ask_all(&browser).await {
        answer.assert_allows("ana");
    }
}

#[tokio::test]
async fn tokens_that_are_due_everywhere_at_once_are_renewed_once() {
    let house = House::start().await;
    house.stage.provider.lifetimes(2, None);
    let browser = house.stage.signed_in("ana").await;
    let (begun, provider) = (house.stage.provider.asked("/token"), &house.stage.provider);
    until("some refreshes", || async {
        for answer in join_all((0..4).map(|_| house.ask_all(&browser))).await.concat() {
            answer.assert_allows("ana");
        }
        provider.asked("/token") >= begun + 3
    })
    .await;
    assert_eq!((provider.used_twice(), provider.sessions()), (0, 1));
}

#[tokio::test]
async fn while_nobody_can_renew_tokens_nobody_is_signed_out() {
    let house = House::start().await;
    house.stage.provider.lifetimes(2, None);
    let browser = house.stage.signed_in("ana").await;
    for answer in house.ask_all(&browser).await {
        answer.assert_allows("ana");
    }
    for line in &house.lines {
        line.cut();
    }
    for replica in house.all() {
        until("an outage", || async { replica.metric("keyward_store_up").await < 0.5 }).await;
    }
    let end = now() + 4;
    until("the end of the tokens", || async {
        for answer in house.ask_all(&browser).await {
            answer.assert_allows("ana");
        }
        now() > end
    })
    .await;
    for line in &house.lines {
        line.heal();
    }
    for replica in house.all() {
        until("the store", || async { replica.metric("keyward_store_up").await > 0.5 }).await;
    }
    for answer in house.ask_all(&browser).await {
        answer.assert_allows("ana");
    }
    assert_eq!((house.stage.provider.used_twice(), house.stage.provider.sessions()), (0, 1));
}

#[tokio::test]
async fn a_replica_that_dies_while_it_renews_tokens_keeps_nobody_out() {
    let house = House::start().await;
    let provider = &house.stage.provider;
    provider.lifetimes(1, None);
    let browser = house.stage.signed_in("ana").await;
    ask(&house.others[0], &browser).await.assert_allows("ana");
    provider.misbehave(Some(Fault::Hang));
    let begun = provider.asked("/token");
    until("a refresh that hangs", || async {
        // Nobody waits for the answer.
        let _ = tokio::time::timeout(Duration::from_millis(50), ask(&house.stage.keyward, &browser)).await;
        provider.asked("/token") > begun
    })
    .await;
    house.stage.keyward.signal("KILL");
    provider.misbehave(None);
    provider.lifetimes(3600, None);
    let begun = provider.asked("/token");
    until("another's refresh", || async {
        for answer in join_all(house.others.iter().map(|replica| ask(replica, &browser))).await {
            answer.assert_allows("ana");
        }
        provider.asked("/token") > begun
    })
    .await;
    assert_eq!((provider.used_twice(), provider.sessions()), (0, 1));
}

#[tokio::test]
async fn the_provider_ends_a_session_at_a_replica_that_has_never_seen_it() {
    let mut house = House::start().await;
    let browser = house.stage.signed_in("ana").await;
    let token = house.logout_token(&house.stage.provider.sid());
    house.turn_to(0);
    assert_eq!(house.call_off(&token).await, 200);
    house.refused_everywhere(&browser).await;
    house.turn_to(1);
    assert_eq!(house.call_off(&token).await, 400, "it counts once");
}

#[tokio::test]
async fn the_provider_ends_a_session_that_nobody_remembers() {
    let mut house = House::start().await;
    let browser = house.stage.signed_in("ana").await;
    house.replace_all().await;
    let token = house.logout_token(&house.stage.provider.sid());
    assert_eq!(house.call_off(&token).await, 200);
    house.refused_everywhere(&browser).await;
}

#[tokio::test]
async fn the_provider_ends_a_session_of_which_the_store_has_lost_everything() {
    let mut house = House::start().await;
    let browser = house.stage.signed_in("ana").await;
    let token = house.logout_token(&house.stage.provider.sid());
    house.turn_to(0);
    // Whoever remembers it is not asked, and cannot put it back yet.
    house.lines[0].stall();
    house.redis.say(&["FLUSHALL"]);
    let house = &house;
    until("the end", || async {
        let status = house.call_off(&token).await;
        assert!([200, 503].contains(&status), "{status}");
        status == 200
    })
    .await;
    house.lines[0].heal();
    house.refused_everywhere(&browser).await;
}

#[tokio::test]
async fn a_provider_that_does_not_wait_for_the_answer_has_ended_the_session() {
    let mut house = House::start().await;
    let browser = house.stage.signed_in("ana").await;
    let body = format!("logout_token={}", house.logout_token(&house.stage.provider.sid()));
    house.turn_to(0);
    // So that it has the provider's keys.
    assert_eq!(house.call_off(&house.logout_token("nobodys-session")).await, 200);
    house.lines[1].stall();
    let Address::Tcp(address) = house.stage.keyward.auth else { panic!("it listens on TCP") };
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = "POST /.keyward/backchannel-logout/id HTTP/1.1\r\nHost: mail.example.test\r\n\
                X-Forwarded-Proto: https\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    connection.write_all(request.as_bytes()).await.unwrap();
    // Nobody can see from outside that it has begun.
    tokio::time::sleep(Duration::from_millis(300)).await;
    connection.set_zero_linger().unwrap();
    drop(connection);
    tokio::time::sleep(Duration::from_millis(300)).await;
    house.lines[1].heal();
    house.refused_everywhere(&browser).await;
}
