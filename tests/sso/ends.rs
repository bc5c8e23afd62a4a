//! What becomes of mailboxes when a sign-in by token ends in a way that nobody at a browser asked for.

use serde_json::json;

use super::fakes::epixel_host::EpixelHost;
use super::fakes::zimbra::{KEY as PREAUTH_KEY, Zimbra};
use super::support::{Address, Answer, Ask, Connection, Door, Setup, Sidecar, until};
use super::{KEY, cookie_of, request};

struct Stage {
    keyward: Sidecar,
    host: EpixelHost,
    mailboxes: Zimbra,
}

async fn stage() -> Stage {
    let mailboxes = Zimbra::start(vec!["alice@example.test".to_owned()]).await.unwrap();
    let host = EpixelHost::start(KEY).await.unwrap();
    let config = format!(
        "[[portal]]\nname = \"mlm\"\nkind = \"one-time-token\"\ncookie = \"keyward\"\n\
         login_url = \"https://portal.example.test/?next={{url}}\"\nhost = \"{}\"\napikey = \"{KEY}\"\n\
         [[backend]]\nname = \"zimbra\"\nkind = \"zimbra\"\nurl = \"{}\"\ncredentials = \"none\"\n\
         preauth_key = \"{PREAUTH_KEY}\"\n\
         [[route]]\nhost = \"mail.example.test\"\nportal = \"mlm\"\nbackend = \"zimbra\"\n",
        host.url(),
        mailboxes.url(),
    );
    Stage { keyward: Setup::new(&config).with_api().start().await, host, mailboxes }
}

impl Stage {
    /// Comes with a token of this API session.
    async fn arrive(&self, api_sid: &str) -> Answer {
        let user = "alice@example.test";
        let token = self.host.mint_for(json!({ "api_sid": api_sid, "access": "a", "username": user }));
        self.keyward.get(&format!("/sso/epixel/login?token={token}"), &[]).await
    }

    /// Comes so, and opens the mailbox.
    async fn open_mailbox(&self, api_sid: &str) -> String {
        let cookie = cookie_of(&self.arrive(api_sid).await);
        self.ask(&cookie).await.assert_allows("alice@example.test");
        cookie
    }

    async fn ask(&self, cookie: &str) -> Answer {
        self.keyward.ask(Door::AuthRequest, &Ask::get("https://mail.example.test/").cookie(cookie)).await
    }

    async fn sign_out(&self, cookie: &str) {
        assert_eq!(self.keyward.get("/.keyward/logout", &[&format!("Cookie: {cookie}")]).await.status, 200);
    }

    async fn closed_mailboxes(&self, number: usize) {
        let ends = || self.mailboxes.requests().iter().filter(|one| one.path().ends_with("EndSessionRequest")).count();
        until("the end of the mailboxes", || async { ends() == number }).await;
    }
}

#[tokio::test]
async fn whoever_signs_out_in_one_browser_leaves_no_mailbox_open_in_another() {
    let stage = stage().await;
    let (one, other) = (stage.open_mailbox("shared").await, stage.open_mailbox("shared").await);
    stage.sign_out(&one).await;
    assert_eq!(stage.ask(&other).await.status, 401);
    stage.closed_mailboxes(2).await;
}

#[tokio::test]
async fn a_session_that_was_over_before_it_was_acknowledged_leaves_no_mailbox_open() {
    let stage = stage().await;
    stage.host.fail("login-acknowledgement/", 1);
    let cookie = stage.open_mailbox("over").await;
    let lines = [format!("apikey: {KEY}"), "Content-Type: application/json".to_owned()];
    let mut connection =
        Connection::open(&Address::Tcp(stage.host.url().trim_start_matches("http://").parse().unwrap())).await;
    connection.send(request("POST", "/api/v1/sso/logout/", "host", &lines, "{\"api_sid\":\"over\"}")).await;
    assert_eq!(connection.answer().await.status, 200);
    until("the end", || async { stage.ask(&cookie).await.status == 401 }).await;
    stage.closed_mailboxes(1).await;
}

#[tokio::test]
async fn a_sign_in_that_was_under_way_when_its_person_signed_out_is_none() {
    let stage = stage().await;
    let cookie = stage.open_mailbox("shared").await;
    // The host cannot be told, so it will not say that the session has ended.
    stage.host.fail("logout/", 100);
    let held = stage.host.hold().await;
    let asked = || stage.host.requests().iter().filter(|one| one.path().ends_with("token-verify/")).count();
    let leaving = async {
        until("the question for the token", || async { asked() == 2 }).await;
        stage.sign_out(&cookie).await;
        drop(held);
    };
    let (arrived, ()) = tokio::join!(stage.arrive("shared"), leaving);
    assert_eq!((arrived.status, arrived.maybe("set-cookie")), (403, None));
}
