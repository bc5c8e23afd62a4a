use keyward::store::StoreOutage;

use crate::real::redis::{Options, Redis};
use crate::replica::{Replica, plan, unable};

/// What Keyward's user may do: nothing but this, and on our own keys.
const RIGHTS: [&str; 9] = ["on", "resetkeys", "~keyward:*", "-@all", "+evalsha", "+eval", "+set", "+get", "+getdel"];

fn allow(server: &Redis, password: &str) {
    let password = format!(">{password}");
    let words: Vec<&str> = ["ACL", "SETUSER", "keyward", "resetpass", &password].into_iter().chain(RIGHTS).collect();
    assert_eq!(server.say(&words), "OK");
}

fn end_connections(server: &Redis) {
    server.say(&["CLIENT", "KILL", "USER", "keyward"]);
}

#[tokio::test]
async fn a_user_of_few_rights_is_enough() {
    let server = Redis::start().await;
    allow(&server, "hidden");
    let lines = format!("addresses = [\"{}\"]\nuser = \"keyward\"\npassword = \"hidden\"", server.address());
    assert_eq!(Replica::new(&lines).put("ana").await, Ok(()));
    assert!(server.say(&["CLIENT", "LIST"]).contains("user=keyward"));
    let elsewhere = Replica::new(&format!("{lines}\nprefix = \"other\""));
    assert_eq!(elsewhere.put("ana").await, Err(unable("NOPERM")));
    assert!(elsewhere.is_up(), "it answers");
}

#[tokio::test]
async fn the_password_of_everybody_is_said_without_a_user() {
    let server = Redis::with(Options { password: Some("hidden".to_owned()), ..Options::default() }).await;
    let lines = format!("addresses = [\"{}\"]", server.address());
    assert_eq!(Replica::new(&format!("{lines}\npassword = \"hidden\"")).put("ana").await, Ok(()));
    let (nobody, wrong) = (Replica::new(&lines), Replica::new(&format!("{lines}\npassword = \"wrong\"")));
    for refused in [nobody, wrong] {
        refused.fails(&StoreOutage::Down).await;
        assert!(!refused.store.is_ready());
    }
}

#[tokio::test]
async fn a_password_that_changes_in_its_file_is_taken_up() {
    let server = Redis::start().await;
    allow(&server, "old");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let address = server.address();
    let lines = format!("addresses = [\"{address}\"]\nuser = \"keyward\"\npassword_file = {:?}", file.path());
    let replica = Replica::new(&lines);
    replica.put("ana").await.unwrap();

    // Before the old one is refused: the next connection is there before anybody needs it.
    server.say(&["ACL", "SETUSER", "keyward", ">new"]);
    let connection =
        server.say(&["CLIENT", "LIST"]).lines().find(|line| line.contains("user=keyward")).unwrap().to_owned();
    let id = connection.split(' ').next().unwrap().to_owned() + " ";
    std::fs::write(file.path(), "new\n").unwrap();
    replica.until("a new connection", async || !server.say(&["CLIENT", "LIST"]).contains(&id)).await;
    assert_eq!(replica.has("ana").await, Ok(true));
    assert_eq!((replica.calls("down"), replica.calls("unreachable")), (0.0, 0.0));

    // The other way round: all are sent away, and nobody comes in until the file is written.
    allow(&server, "newest");
    end_connections(&server);
    replica.fails(&StoreOutage::Down).await;
    std::fs::write(file.path(), "newest\n").unwrap();
    replica.until("its answer", async || replica.has("ana").await == Ok(true)).await;
}

#[tokio::test]
async fn a_password_that_is_written_otherwise_is_taken_up_by_a_reload() {
    let server = Redis::start().await;
    allow(&server, "old");
    let lines = format!("addresses = [\"{}\"]\nuser = \"keyward\"\npassword = ", server.address());
    let replica = Replica::new(&format!("{lines}\"old\""));
    replica.put("ana").await.unwrap();
    allow(&server, "new");
    end_connections(&server);
    replica.fails(&StoreOutage::Down).await;
    let next = plan(&format!("{lines}\"new\""));
    assert!(replica.store.is_as_planned(&next));
    replica.store.configure(next);
    replica.until("its answer", async || replica.has("ana").await == Ok(true)).await;
}
