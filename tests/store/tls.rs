use keyward::store::StoreOutage;

use crate::real::redis::{Authority, Options, Redis};
use crate::replica::Replica;

async fn certified_as(names: &[&str], settings: &str) -> Redis {
    let certified_as = names.iter().map(ToString::to_string).collect();
    let authority = Some(Authority::new());
    Redis::with(Options { authority, certified_as, settings: settings.to_owned(), ..Options::default() }).await
}

fn lines(server: &Redis, authority: &Redis) -> String {
    format!("addresses = [\"{}\"]\ntls = true\nca_file = {:?}", server.tls_address(), authority.authority())
}

#[tokio::test]
async fn a_server_of_the_right_name_and_authority_is_reached() {
    let server = certified_as(&[], "").await;
    assert_eq!(Replica::new(&lines(&server, &server)).put("ana").await, Ok(()));
}

#[tokio::test]
async fn a_server_of_another_name_or_authority_is_nobody() {
    let (server, misnamed) = (certified_as(&[], "").await, certified_as(&["elsewhere.example.test"], "").await);
    let plain = format!("addresses = [\"{}\"]\ntls = true\nca_file = {:?}", server.address(), server.authority());
    for lines in [lines(&misnamed, &misnamed), lines(&server, &misnamed), plain] {
        let replica = Replica::new(&lines);
        replica.fails(&StoreOutage::Down).await;
        assert!(!replica.store.is_ready());
    }
}

#[tokio::test]
async fn a_server_that_wants_to_know_who_comes_is_shown_a_certificate() {
    let server = certified_as(&[], "tls-auth-clients yes").await;
    let stranger = Replica::new(&lines(&server, &server));
    stranger.fails(&StoreOutage::Down).await;
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| server.authority().with_file_name(name));
    let known = format!("{}\ncertificate_file = {certificate:?}\nkey_file = {key:?}", lines(&server, &server));
    assert_eq!(Replica::new(&known).put("ana").await, Ok(()));
}
