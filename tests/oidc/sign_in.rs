use serde_json::json;

use crate::stage::{Browser, stage};

#[tokio::test]
async fn somebody_signs_in_and_comes_back_to_where_they_wanted_to_go() {
    let stage = stage("").await;
    stage.provider.knows(
        "ana",
        json!({ "name": "Ana Example", "email": "ana@example.test", "realm_access": { "roles": ["admin"] } }),
    );
    let mut browser = Browser::default();
    let asked = stage.ask(&browser, "/mail/?folder=INBOX").await;
    assert_eq!((asked.status, asked.reason().as_str()), (401, "no_session"));
    let answer = stage.sign_in(&mut browser, "https://mail.example.test/mail/?folder=INBOX&x=%2F").await;
    assert_eq!((answer.status, answer.one("location").as_str()), (303, "/mail/?folder=INBOX&x=%2F"), "{answer:?}");
    assert_eq!((browser.session().map(String::len), browser.flows().len()), (Some(43), 0));
    let allowed = stage.ask(&browser, "/admin").await;
    allowed.assert_allows("ana");
    assert_eq!(allowed.one("remote-name"), "Ana Example");
    assert_eq!(allowed.one("remote-email"), "ana@example.test");
    assert_eq!(allowed.one("remote-groups"), "admin");
    assert_eq!(allowed.one("x-upstream-cookie"), "");
}
