//! Two replicas of the host, and services that call whichever they are led to.

use serde_json::{Value, json};

use super::fakes::epixel_client::{Behaviour, EpixelClient};
use super::host::{config, key, token_of, visit};
use super::redis::Redis;
use super::support::{Answer, Ask, Door, Setup, Sidecar, Ticket, until};
use super::{KEY, OTHER_KEY, json, request, ticket_portal, told};

struct Replicas {
    one: Sidecar,
    other: Sidecar,
    shop: EpixelClient,
    forum: EpixelClient,
    redis: Redis,
}

async fn replicas(portal: &str, more: &str, when_down: &str) -> Replicas {
    let people = ["alice", "bob"].map(str::to_owned);
    let (redis, shop, forum) = (
        Redis::start().await,
        EpixelClient::start(&people, KEY).await.unwrap(),
        EpixelClient::start(&people, OTHER_KEY).await.unwrap(),
    );
    let store = format!(
        "[store]\nkind = \"redis\"\naddresses = [\"unix:{}\"]\nwhen_down = \"{when_down}\"\n\
         names_secret = \"one secret of thirty-two bytes!!\"\n\
         [[store.key]]\nid = \"a\"\nsecret = \"another one of thirty-two bytes!\"\n",
        redis.socket().display()
    );
    let config = store + &config(portal, &shop, &forum, more);
    let (one, other) = (Setup::new(&config).with_api().start().await, Setup::new(&config).with_api().start().await);
    for replica in [&one, &other] {
        // Before that nobody sends people to it.
        until("readiness", || async { replica.operator("/readyz").await.status == 200 }).await;
    }
    for service in [&shop, &forum] {
        service.at_each(&[other.api, one.api]);
    }
    Replicas { one, other, shop, forum, redis }
}

impl Replicas {
    fn both(&self) -> [&Sidecar; 2] {
        [&self.one, &self.other]
    }
}

async fn browser_asks(at: &Sidecar, cookie: &str, service: &str) -> Answer {
    let lines = [format!("Cookie: {cookie}"), "Sec-Fetch-Site: same-origin".to_owned()];
    let body = json!({ "service": service }).to_string();
    at.exchange(request("PUT", "/sso/v1/service-request/", "portal.example.test", &lines, &body)).await
}

async fn login_url(at: &Sidecar, cookie: &str, service: &str) -> String {
    let answer = browser_asks(at, cookie, service).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    json(&answer)["url"].as_str().unwrap().to_owned()
}

async fn server_asks(at: &Sidecar, call: &str, lines: &[String], body: &Value) -> Answer {
    let target = format!("/api/v1/sso/{call}/");
    at.call(request("POST", &target, "host.example.test", lines, &body.to_string())).await
}

async fn ask(at: &Sidecar, service: &str, cookie: &str) -> Answer {
    at.ask(Door::AuthRequest, &Ask::get(format!("https://{service}.example.test/")).cookie(cookie)).await
}

async fn sign_out(at: &Sidecar, cookie: &str) {
    assert_eq!(at.get("/.keyward/logout", &[&format!("Cookie: {cookie}")]).await.status, 200);
}

#[tokio::test]
async fn what_one_replica_mints_the_other_redeems_and_either_ends_for_both() {
    let replicas = replicas(&ticket_portal(), "", "refuse").await;
    let Replicas { one, other, shop, forum, .. } = &replicas;
    let cookie = Ticket::of("alice").roles(&["forum"]).cookie();
    // Asked at the other, and acknowledged at the one.
    assert_eq!(visit(&login_url(one, &cookie, "shop").await).await.status, 302);
    assert_eq!(shop.words()[0].0, 200);
    let by_browser = shop.api_sids().pop().unwrap();
    for at in [one, other, one] {
        assert_eq!(visit(&login_url(at, &cookie, "forum").await).await.status, 302);
    }
    let entered = forum.api_sids();
    assert!(entered.len() == 3 && entered.iter().all(|api_sid| *api_sid == entered[0]), "one session: {entered:?}");
    ask(one, "shop", &cookie).await.assert_allows("alice");
    ask(other, "shop", &cookie).await.assert_allows("alice");
    assert_eq!(shop.users().len(), 2, "the keys are shared as those of everybody");
    let held = shop.api_sids().pop().unwrap();
    assert_ne!(held, by_browser);
    // The next call of the shop goes to the other.
    shop.at(other.api);
    assert_eq!(shop.sign_out(&by_browser).await, 200);
    for at in replicas.both() {
        until("the end at both", || async { ask(at, "shop", &cookie).await.reason() == "revoked" }).await;
        assert_eq!(told(&browser_asks(at, &cookie, "shop").await), (401, "not_authenticated".to_owned()));
    }
    until("the end of her sessions", || async { shop.users().is_empty() && forum.users().is_empty() }).await;
    assert_eq!((shop.ended(), forum.ended()), (vec![held], vec![entered[0].clone()]), "each once, and one not at all");
    shop.at(one.api);
    assert_eq!(shop.sign_out(&by_browser).await, 200, "once more, elsewhere");
}

#[tokio::test]
async fn of_fifty_who_redeem_one_token_at_two_replicas_one_wins() {
    let replicas = replicas(&ticket_portal(), "", "refuse").await;
    let token = token_of(&login_url(&replicas.one, &Ticket::of("alice").cookie(), "shop").await);
    let body = json!({ "token": token });
    let calls = (0..50).map(|number| server_asks(replicas.both()[number % 2], "token-verify", &[], &body));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(told(&answer), (401, "invalid_apikey".to_owned()));
    }
    assert_eq!(visit_status(&replicas, &token).await, 401, "it was seen by strangers");
    let token = token_of(&login_url(&replicas.one, &Ticket::of("alice").cookie(), "shop").await);
    let body = json!({ "token": token });
    let calls = (0..50).map(async |number| {
        let answer = server_asks(replicas.both()[number % 2], "token-verify", &key(KEY), &body).await;
        if answer.status == 200 { 200 } else { told(&answer).0 }
    });
    let mut statuses = futures_util::future::join_all(calls).await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1..].iter().all(|status| *status == 401)), (200, true), "{statuses:?}");
}

async fn visit_status(replicas: &Replicas, token: &str) -> u16 {
    visit(&format!("{}/sso/epixel/login?token={token}", replicas.shop.url())).await.status
}

#[tokio::test]
async fn a_login_waits_for_what_the_service_says_to_another_replica() {
    for (behaviour, status) in [(Behaviour::Documented, 200), (Behaviour::EndsAtOnce, 401)] {
        let settings = "wait_for_acknowledgement = true";
        let replicas = replicas(&ticket_portal(), settings, "refuse").await;
        let Replicas { one, other, shop, .. } = &replicas;
        shop.at(other.api);
        shop.behave(behaviour);
        let cookie = Ticket::of("alice").cookie();
        assert_eq!(ask(one, "shop", &cookie).await.status, status, "{behaviour:?}");
        if status == 200 {
            assert_eq!(shop.users(), ["alice"]);
            sign_out(other, &cookie).await;
            until("the end", || async { shop.users().is_empty() }).await;
            assert_eq!(shop.ended().len(), 1, "once");
        }
    }
}

#[tokio::test]
async fn a_service_leads_its_people_on_at_whichever_replica_by_the_roles_they_have_by_now() {
    let portal = format!(
        "[[api.key]]\ncaller = \"office\"\nsecret = \"{KEY}\"\n[[portal]]\nname = \"office\"\nkind = \"registered\"\n\
         cookie = \"office\"\nlogin_url = \"https://portal.example.test/?next={{url}}\"\n"
    );
    let replicas = replicas(&portal, "", "refuse").await;
    let Replicas { one, other, shop, .. } = &replicas;
    let register = async |roles: &[&str]| {
        let lines = [format!("Authorization: Bearer {KEY}"), "Content-Type: application/json".to_owned()];
        let told = json!({"user": "alice", "roles": roles, "expires": 4_000_000_000_u64}).to_string();
        one.call(request("PUT", "/v1/sessions/a-session-of-the-office", "api", &lines, &told)).await.status
    };
    assert_eq!(register(&["forum"]).await, 201);
    assert_eq!(visit(&login_url(one, "office=a-session-of-the-office", "shop").await).await.status, 302);
    let (api_sid, access) = (shop.api_sids().pop().unwrap(), shop.words()[0].1["access"].clone());
    let bearer = [key(KEY), vec![format!("Authorization: Bearer {}", access.as_str().unwrap())]].concat();
    for (then, status) in [(&["forum"][..], 200), (&[], 403)] {
        assert_eq!(register(then).await, 204);
        // The other has never seen the portal's session.
        for (lines, body) in
            [(key(KEY), json!({"service": "forum", "api_sid": api_sid})), (bearer.clone(), json!({"service": "forum"}))]
        {
            for at in [other, one] {
                until("what they are told", || async {
                    server_asks(at, "service-request", &lines, &body).await.status == status
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn a_replica_that_dies_with_what_it_redeemed_leaves_nobody_signed_in() {
    let mut replicas = replicas(&ticket_portal(), "", "refuse").await;
    let cookie = Ticket::of("alice").roles(&["forum"]).cookie();
    replicas.shop.behave(Behaviour::NeverAcknowledges);
    assert_eq!(visit(&login_url(&replicas.one, &cookie, "shop").await).await.status, 302);
    replicas.other.signal("KILL");
    replicas.other.ended().await;
    let Replicas { one, shop, .. } = &replicas;
    shop.at(one.api);
    let api_sid = shop.api_sids().pop().unwrap();
    let acknowledged = server_asks(one, "login-acknowledgement", &key(KEY), &json!({ "api_sid": api_sid })).await;
    assert_eq!(acknowledged.status, 200);
    sign_out(one, &cookie).await;
    until("the end of her session", || async { shop.users().is_empty() }).await;
    assert_eq!(shop.ended(), [api_sid]);
}

#[tokio::test]
async fn without_the_store_a_service_is_told_to_come_again_and_nothing_is_lost_by_it() {
    let mut replicas = replicas(&ticket_portal(), "", "login").await;
    let cookie = Ticket::of("alice").roles(&["forum"]).cookie();
    assert_eq!(visit(&login_url(&replicas.one, &cookie, "shop").await).await.status, 302);
    let token = token_of(&login_url(&replicas.one, &cookie, "forum").await);
    let api_sid = replicas.shop.api_sids().pop().unwrap();
    replicas.redis.stop();
    let Replicas { one, other, forum, .. } = &replicas;
    let unavailable = (503, "unavailable".to_owned());
    for at in [one, other] {
        let answer = server_asks(at, "token-verify", &key(OTHER_KEY), &json!({ "token": token })).await;
        assert_eq!(told(&answer), unavailable);
        assert!(!answer.one("retry-after").is_empty());
    }
    for call in ["login-acknowledgement", "logout"] {
        let answer = server_asks(one, call, &key(KEY), &json!({ "api_sid": api_sid })).await;
        assert_eq!(told(&answer), unavailable, "{call}: the one has only minted the token");
    }
    let acknowledged = server_asks(other, "login-acknowledgement", &key(KEY), &json!({ "api_sid": api_sid })).await;
    assert_eq!(acknowledged.status, 200, "the other has redeemed it");
    // What is minted now is good where it was minted.
    let apart = token_of(&login_url(one, &cookie, "forum").await);
    let elsewhere = server_asks(other, "token-verify", &key(OTHER_KEY), &json!({ "token": apart })).await;
    assert_eq!(told(&elsewhere), unavailable);
    forum.at(one.api);
    assert_eq!(visit(&format!("{}/sso/epixel/login?token={apart}", forum.url())).await.status, 302);
    let led_on = forum.api_sids().pop().unwrap();
    replicas.redis.start_again().await;
    let Replicas { one, other, shop, forum, .. } = &replicas;
    // The store is back, and empty: what each has, it puts back.
    until("all is known to all", || async {
        let mut known = true;
        for (at, service, api_sid) in [(one, KEY, &api_sid), (other, OTHER_KEY, &led_on)] {
            let body = json!({ "api_sid": api_sid });
            known &= server_asks(at, "login-acknowledgement", &key(service), &body).await.status == 200;
        }
        known
    })
    .await;
    forum.at(other.api);
    assert_eq!(forum.sign_out(&led_on).await, 200);
    until("the end everywhere", || async { shop.users().is_empty() }).await;
    for at in replicas.both() {
        until("the end at both", || async { ask(at, "shop", &cookie).await.reason() == "revoked" }).await;
    }
    assert_eq!((shop.ended(), forum.ended().len()), (vec![api_sid], 0));
}

#[tokio::test]
async fn who_signs_out_without_the_store_is_signed_out_of_what_another_replica_knows_when_it_is_back() {
    let mut replicas = replicas(&ticket_portal(), "", "refuse").await;
    let cookie = Ticket::of("alice").cookie();
    replicas.shop.behave(Behaviour::NeverAcknowledges);
    // The other redeems hers, and the one his.
    for ticket in [&cookie, &Ticket::of("bob").cookie()] {
        assert_eq!(visit(&login_url(&replicas.one, ticket, "shop").await).await.status, 302);
    }
    assert_eq!(replicas.shop.users(), ["alice", "bob"]);
    let api_sid = replicas.shop.api_sids()[0].clone();
    replicas.redis.stop();
    sign_out(&replicas.one, &cookie).await;
    assert_eq!(ask(&replicas.one, "shop", &cookie).await.reason(), "revoked");
    replicas.redis.start_again().await;
    let shop = &replicas.shop;
    until("the end of her session", || async { shop.users() == ["bob"] }).await;
    assert!(shop.ended().iter().all(|ended| *ended == api_sid), "and of nobody else's");
    until("the end at both", || async { ask(&replicas.other, "shop", &cookie).await.reason() == "revoked" }).await;
}
