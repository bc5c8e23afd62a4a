//! What the provider's house may do with a session by the provider's own name for it.

use crate::fakes::openid_provider::OpenIdProvider;
use crate::stage::{Browser, MAIL, Stage, config};
use crate::support::{Answer, Setup};

const KEY: &str = "00112233445566778899aabbccddeeff";
const SID: &str = "a-session-at-the-provider";

impl Stage {
    /// One call of the provider's house. There is no back-end, which is told to whoever is vouched for alone.
    async fn call(&self, call: &str, browser: &Browser) -> Answer {
        let ticket = browser.session().unwrap();
        let lines = format!("Authorization: Bearer {KEY}\r\nX-Keyward-Ticket: {ticket}\r\nContent-Length: 0");
        self.keyward.call(format!("{call} HTTP/1.1\r\nHost: api\r\n{lines}\r\n\r\n")).await
    }

    async fn keys(&self, sid: &str, browser: &Browser) -> String {
        let answer = self.call(&format!("GET /v1/sessions/{sid}/keys/mail"), browser).await;
        assert_eq!(answer.status, 404, "{answer:?}");
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        told.get("reason").unwrap_or(&told["title"]).as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_session_is_known_by_the_name_that_the_provider_gives_it() {
    let provider = OpenIdProvider::start(&[MAIL]).await.unwrap();
    provider.twist_id_claims(|claims| claims["sid"] = SID.into());
    let key = format!("[[api.key]]\ncaller = \"id\"\nsecret = \"{KEY}\"\nportal = \"id\"");
    let keyward = Setup::new(&config(&provider.issuer(), &key)).with_api().start().await;
    let stage = Stage { keyward, provider };
    let ana = stage.signed_in("ana").await;
    assert_eq!(stage.keys(SID, &ana).await, "no such back-end");
    assert_eq!(stage.keys("another-session-of-the-provider", &ana).await, "forged");
    assert_eq!(stage.call(&format!("DELETE /v1/sessions/{SID}"), &ana).await.status, 204);
    assert_ne!(stage.keys(SID, &ana).await, "no such back-end");
    assert_eq!(stage.ask(&ana, "/").await.status, 401);
}
