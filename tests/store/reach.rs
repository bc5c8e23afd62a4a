use std::net::Ipv6Addr;

use keyward::demo::process::free_port;
use keyward::store::StoreOutage;

use crate::real::redis::Redis;
use crate::replica::Replica;

#[tokio::test]
async fn a_server_is_reached_at_a_port_and_at_a_socket() {
    let server = Redis::start().await;
    let [port, socket] = [server.address().to_string(), format!("unix:{}", server.socket().display())].map(Replica::at);
    assert_eq!(port.put("ana").await, Ok(()));
    assert_eq!(socket.has("ana").await, Ok(true));
    assert!(port.is_up());
    assert_eq!((port.calls("done"), socket.calls("done")), (1.0, 1.0));
    assert_eq!(port.metric("keyward_store_seconds_count"), 1.0);
}

#[tokio::test]
async fn a_server_is_reached_over_ipv6() {
    let server = Redis::start().await;
    let address = free_port(Ipv6Addr::LOCALHOST.into()).expect("the loopback of IPv6");
    server.say(&["CONFIG", "SET", "bind", "::1", "port", &address.port().to_string()]);
    assert_eq!(Replica::at(address).put("ana").await, Ok(()));
}

#[tokio::test]
async fn a_database_and_a_prefix_keep_houses_apart() {
    let server = Redis::start().await;
    let lines = |more: &str| format!("addresses = [\"{}\"]\n{more}", server.address());
    let one = Replica::new(&lines("database = 3\nprefix = \"one\""));
    let others = [lines("database = 3\nprefix = \"two\""), lines("prefix = \"one\"")].map(|lines| Replica::new(&lines));
    one.put("ana").await.unwrap();
    for other in others {
        assert_eq!(other.has("ana").await, Ok(false));
    }
    assert!(server.say(&["-n", "3", "KEYS", "*"]).starts_with("one:{"));
}

#[tokio::test]
async fn scripts_that_a_server_forgot_are_told_again() {
    let server = Redis::start().await;
    let replica = Replica::at(server.address());
    replica.put("ana").await.unwrap();
    server.say(&["SCRIPT", "FLUSH"]);
    assert_eq!(replica.has("ana").await, Ok(true));
    assert_eq!(replica.put("ben").await, Ok(()));
    assert_eq!(replica.calls("done"), 3.0);
}

#[tokio::test]
async fn a_server_that_starts_later_is_found() {
    let mut server = Redis::start().await;
    server.kill();
    let lines = format!("addresses = [\"{}\"]", server.address());
    let (refusing, going_on) = (Replica::new(&lines), Replica::new(&format!("{lines}\nwhen_down = \"login\"")));
    refusing.listens();
    refusing.fails(&StoreOutage::Down).await;
    assert!(!refusing.store.is_ready() && !refusing.is_up() && going_on.store.is_ready());
    server.start_again().await;
    refusing.can_put("ana").await;
    refusing.until("readiness", async || refusing.store.is_ready() && refusing.is_up()).await;
    server.kill();
    refusing.fails(&StoreOutage::Down).await;
    assert!(refusing.store.is_ready(), "an outage takes nobody out of service");
    assert!(!refusing.is_up());
}

#[tokio::test]
async fn a_server_that_was_started_again_is_used_again() {
    let mut server = Redis::start().await;
    let replica = Replica::at(server.address());
    for round in ["one", "two"] {
        replica.can_put(round).await;
        server.kill();
        replica.fails(&StoreOutage::Down).await;
        server.start_again().await;
    }
    replica.until("its answer", async || replica.has("two").await == Ok(false)).await;
}
