//! Two replicas that share a store, and what counts once, counts once at both.

use serde_json::{Value, json};

use futures_util::future::join_all;

use crate::fakes::openid_provider::OpenIdProvider;
use crate::real::redis::Redis;
use crate::stage::{Browser, MAIL, Stage, config};
use crate::support::{Answer, Ask, Door, Setup, Sidecar, until};

/// The first replica is on the stage, the other beside it.
struct Replicas {
    stage: Stage,
    other: Sidecar,
    redis: Redis,
    /// Their settings of it.
    store: String,
}

impl Replicas {
    async fn start() -> Self {
        Self::with("").await
    }

    /// With more settings of the store.
    async fn with(settings: &str) -> Self {
        let (redis, provider) = (Redis::start().await, OpenIdProvider::start(&[MAIL]).await.unwrap());
        let store = format!(
            "audiences = [\"mail-api\"]\n[store]\nkind = \"redis\"\naddresses = [\"unix:{}\"]\n\
             names_secret = \"one secret of thirty-two bytes!!\"\n{settings}\n\
             [[store.key]]\nid = \"a\"\nsecret = \"another one of thirty-two bytes!\"\n",
            redis.socket().display()
        );
        let replica = || async {
            let replica = Setup::new(&config(&provider.issuer(), &store)).start().await;
            until("readiness", || async { replica.operator("/readyz").await.status == 200 }).await;
            replica
        };
        let (keyward, other) = (replica().await, replica().await);
        Self { stage: Stage { keyward, provider }, other, redis, store }
    }

    /// In the place of the other one, one that starts now.
    async fn replace_other(&mut self) {
        self.other = Setup::new(&config(&self.stage.provider.issuer(), &self.store)).start().await;
    }

    /// The other's turn to be asked.
    fn swap(&mut self) {
        std::mem::swap(&mut self.stage.keyward, &mut self.other);
    }

    async fn call_off(&self, token: &str) -> Answer {
        let lines = ["Content-Type: application/x-www-form-urlencoded"];
        let body = format!("logout_token={token}");
        self.stage.send(&mut Browser::default(), "POST", "/.keyward/backchannel-logout/id", &lines, &body).await
    }

    async fn bring(&self, claims: &Value) -> Answer {
        let token = self.stage.provider.key().sign(claims);
        let ask = Ask::get(format!("{MAIL}/api")).header("Authorization", format!("Bearer {token}"));
        self.stage.keyward.ask(Door::AuthRequest, &ask).await
    }

    fn logout_token(&self, sid: &str) -> String {
        let provider = &self.stage.provider;
        provider.key().sign(&provider.logout_claims(None, Some(sid)))
    }

    fn bearer(&self, sid: &str) -> Value {
        let mut claims = self.stage.provider.access_claims("ana", "mail-api");
        claims["sid"] = json!(sid);
        claims
    }
}

#[tokio::test]
async fn a_logout_token_counts_once_wherever_the_provider_sends_it() {
    let mut replicas = Replicas::start().await;
    let token = replicas.logout_token("a-session");
    assert_eq!(replicas.call_off(&token).await.status, 200);
    replicas.swap();
    assert_eq!(replicas.call_off(&token).await.status, 400);
}

#[tokio::test]
async fn what_the_provider_has_ended_at_one_replica_brings_nobody_in_at_the_other() {
    let mut replicas = Replicas::start().await;
    let (known, new) = (replicas.bearer("a-session"), {
        let mut claims = replicas.bearer("a-session");
        claims["jti"] = json!("another");
        claims
    });
    let stays = replicas.bearer("another-session");
    for claims in [&known, &stays] {
        replicas.bring(claims).await.assert_allows("ana");
    }
    replicas.swap();
    let token = replicas.logout_token("a-session");
    assert_eq!(replicas.call_off(&token).await.status, 200);
    replicas.swap();
    assert_eq!(replicas.bring(&new).await.status, 401, "never seen here");
    replicas.bring(&stays).await.assert_allows("ana");
    let replicas = &replicas;
    until("the end is known at both", || async { replicas.bring(&known).await.status == 401 }).await;
}

#[tokio::test]
async fn a_logout_token_ends_what_it_can_without_the_store_and_is_to_come_again() {
    let mut replicas = Replicas::start().await;
    let (known, new, token) =
        (replicas.bearer("a-session"), replicas.bearer("another-session"), replicas.logout_token("a-session"));
    replicas.bring(&known).await.assert_allows("ana");
    replicas.redis.stop();
    let told = replicas.call_off(&token).await;
    assert!(told.status == 503 && !told.one("retry-after").is_empty(), "{told:?}");
    assert_eq!(replicas.bring(&known).await.status, 401, "here it has ended");
    let nobody_knows = replicas.bring(&new).await;
    assert!(![200, 401, 403].contains(&nobody_knows.status), "{nobody_knows:?}");
    replicas.redis.start_again().await;
    let replicas = &replicas;
    until("the store is asked again", || async { replicas.call_off(&token).await.status == 200 }).await;
    assert_eq!(replicas.call_off(&token).await.status, 400);
    replicas.bring(&new).await.assert_allows("ana");
}

#[tokio::test]
async fn nobody_is_let_in_with_a_token_while_somebody_else_looks_whether_it_has_ended() {
    let mut replicas = Replicas::start().await;
    let token = replicas.logout_token("a-session");
    assert_eq!(replicas.call_off(&token).await.status, 200);
    // Whoever starts now has heard nothing of that end.
    replicas.redis.pause();
    replicas.replace_other().await;
    replicas.swap();
    let claims = replicas.bearer("a-session");
    for answer in join_all((0..20).map(|_| replicas.bring(&claims))).await {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    replicas.redis.go_on();
    let replicas = &replicas;
    until("the store is asked again", || async { replicas.bring(&claims).await.status == 401 }).await;
}

#[tokio::test]
async fn without_the_store_a_logout_token_ends_nobody_twice_who_has_come_since() {
    let mut replicas = Replicas::with("when_down = \"login\"").await;
    let before = replicas.stage.signed_in("ana").await;
    replicas.redis.stop();
    let provider = &replicas.stage.provider;
    let token = provider.key().sign(&provider.logout_claims(Some("ana"), None));
    assert_eq!(replicas.call_off(&token).await.status, 503, "it is to come again");
    assert_eq!(replicas.stage.ask(&before, "/").await.status, 401);
    let since = tokio::sync::Mutex::new(Browser::default());
    // Of a sign-in within the same second nobody can tell whether it is meant.
    until("a later sign-in", || async {
        let mut browser = since.lock().await;
        replicas.stage.sign_in(&mut browser, "/").await.status == 303
    })
    .await;
    let since = since.into_inner();
    assert_eq!(replicas.call_off(&token).await.status, 503);
    replicas.stage.ask(&since, "/").await.assert_allows("ana");
}
