//! A one-time token between two domains works once, whichever replicas are asked.

use futures_util::future::join_all;

use crate::house::{House, Plan};
use crate::person::User;
use crate::replica::Replica;
use crate::stores::Store;
use crate::support::Answer;

const THERE: &str = "webmail.other.test";
const PORTAL: &str = "portal.example.test";

/// Goes to an address at one of the replicas, as a browser with these cookies.
async fn go(replica: &Replica, address: &str, cookies: &str) -> Answer {
    let (host, path) = address.strip_prefix("https://").and_then(|rest| rest.split_once('/')).expect(address);
    let lines = format!(
        "Host: {host}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: {host}\r\nAccept: text/html\r\n\
         Sec-Fetch-Mode: navigate\r\nCookie: {cookies}\r\n"
    );
    let mut connection = replica.connect().await;
    connection.send(format!("GET /{path} HTTP/1.1\r\n{lines}\r\n")).await;
    connection.answer().await
}

/// Where the browser is sent to redeem its token, and the cookie that it needs there. Each step is at another replica:
/// the last named has not made the token.
async fn up_to_the_token<'a>(house: &'a House, user: &User) -> (String, String, &'a Replica) {
    let mut address = format!("https://{PORTAL}/.keyward/enter/mail");
    let mut state = String::new();
    for (step, replica) in house.replicas.iter().cycle().take(6).enumerate() {
        let cookies = if address.contains(PORTAL) { &user.cookie } else { &state };
        let answer = go(replica, &address, cookies).await;
        assert_eq!(answer.status, 303, "{address}: {answer:?}");
        if let Some(line) = answer.all("Set-Cookie").first() {
            state = line.split(';').next().unwrap().to_owned();
        }
        address = answer.one("Location");
        if address.contains("token=") {
            return (address, state, &house.replicas[(step + 1) % 3]);
        }
    }
    panic!("round in circles: {address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_who_show_one_token_at_all_replicas_one_is_let_in() {
    let store = Store::single().await;
    let enter = format!("[backend.enter]\norigins = [\"https://{PORTAL}\"]");
    let house = House::start(&Plan { host: THERE, ..Plan::sharing(store.settings("")).backend(&enter) }).await;
    house.store_is(true).await;
    for round in 0..6 {
        let user = house.user(&format!("ana-{round}"));
        let (address, state, another) = up_to_the_token(&house, &user).await;
        let everybody: Vec<&Replica> = house.replicas.iter().cycle().take(12).collect();
        let first = if round % 2 == 0 { vec![another] } else { Vec::new() };
        let mut answers = Vec::new();
        for shown in [first, everybody] {
            answers.extend(join_all(shown.iter().map(|replica| go(replica, &address, &state))).await);
        }
        let is_let_in = |answer: &Answer| answer.all("Set-Cookie").iter().any(|line| line.starts_with(&user.cookie));
        assert_eq!(answers.iter().filter(|answer| is_let_in(answer)).count(), 1, "{answers:#?}");
        assert!(round % 2 == 1 || is_let_in(&answers[0]), "another than the one that made it: {:?}", answers[0]);
        assert_eq!(house.mail.logins(&user.name), 1);
    }
}
