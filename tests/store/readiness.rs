use crate::real::redis::Redis;
use crate::support::{SMALLEST, Setup, Sidecar, until};

pub fn config(server: &Redis, more: &str) -> String {
    format!(
        "{SMALLEST}[store]\nkind = \"redis\"\naddresses = [\"{}\"]\nnames_secret = \"names names names names names 32!\"\n\
         {more}\n[[store.key]]\nid = \"a\"\nsecret = \"seals seals seals seals seals 32!\"\n",
        server.address()
    )
}

async fn says(sidecar: &Sidecar, status: u16, text: &str) -> bool {
    let answer = sidecar.operator("/readyz").await;
    answer.status == status && answer.text() == text
}

/// How often something was logged.
fn logged(sidecar: &Sidecar, message: &str) -> usize {
    sidecar.log_lines().iter().filter(|line| line["message"] == message).count()
}

#[tokio::test]
async fn a_replica_is_ready_once_it_has_seen_the_store() {
    let mut server = Redis::start().await;
    server.kill();
    let sidecar = Setup::new(&config(&server, "")).start().await;
    assert!(says(&sidecar, 503, "waiting for the store\n").await);
    assert_eq!(sidecar.operator("/livez").await.status, 200);
    let lost = "the store is lost; it is looked for until it is back";
    until("word of it", || async { logged(&sidecar, lost) == 1 }).await;
    server.start_again().await;
    until("readiness", || async { says(&sidecar, 200, "ready\n").await }).await;
    until("word of it", || async { logged(&sidecar, "the store is reached") == 1 }).await;

    server.kill();
    until("the outage", || async { sidecar.metric("keyward_store_up").await < 0.5 }).await;
    until("word of it", || async { logged(&sidecar, lost) == 2 }).await;
    assert!(says(&sidecar, 200, "ready\n").await, "else an outage would take all replicas out of service");
    server.start_again().await;
    until("word of it", || async { logged(&sidecar, "the store is back") == 1 }).await;
}

#[tokio::test]
async fn a_replica_that_goes_on_without_the_store_is_ready_when_it_has_looked() {
    let mut server = Redis::start().await;
    server.kill();
    let sidecar = Setup::new(&config(&server, "when_down = \"login\"")).start().await;
    until("readiness", || async { says(&sidecar, 200, "ready\n").await }).await;
}

#[tokio::test]
async fn a_password_that_is_refused_is_told_once_and_never_shown() {
    let server = Redis::start().await;
    let sidecar = Setup::new(&config(&server, "user = \"keyward\"\npassword = \"hidden\"")).start().await;
    let refused =
        "the store refuses us; compare [store] user and password, or what its password_file holds, with its ACL";
    until("word of it", || async { logged(&sidecar, refused) == 1 }).await;
    server.say(&["ACL", "SETUSER", "keyward", "on", ">hidden", "~*", "+@all"]);
    until("readiness", || async { says(&sidecar, 200, "ready\n").await }).await;
    assert_eq!(logged(&sidecar, refused), 1);
    assert!(!sidecar.log().contains("hidden"));
}

#[tokio::test]
async fn a_reload_keeps_the_store_and_refuses_another() {
    let (server, other) = (Redis::start().await, Redis::start().await);
    let sidecar = Setup::new(&config(&server, "")).start().await;
    until("readiness", || async { says(&sidecar, 200, "ready\n").await }).await;
    sidecar.rewrite(&config(&server, "timeout = \"2s\"\npassword = \"wrong\""));
    sidecar.reload("applied").await;
    assert!(sidecar.metric("keyward_store_up").await > 0.5, "the connection that works stays");
    sidecar.rewrite(&config(&other, ""));
    sidecar.reload("refused").await;
}
