//! In: who may, and as whom.

use crate::browser::Browser;
use crate::example::{self, WEBMAIL};
use crate::stage::Stage;

#[tokio::test]
async fn somebody_of_the_directory_signs_in_at_keycloak_and_comes_back_to_the_page() {
    let stage = Stage::start().await;
    let name = stage.person(&["mail-users"]).await;
    let mut browser = Browser::new(&stage.keyward);
    let page = browser.open("/inbox?folder=5&x=%2F").await;
    assert!(page.asks_for_password(), "{}: {:?}", page.url, page.answer);
    let refused = browser.sign_in(&page, &name, "a wrong one").await;
    assert!(refused.asks_for_password(), "{}: {:?}", refused.url, refused.answer);
    let page = browser.sign_in(&refused, &name, &example::password(&name)).await;
    assert_eq!(page.url.as_str(), format!("{WEBMAIL}/inbox?folder=5&x=%2F"));
    let allowed = page.answer.assert_allows(&name);
    assert_eq!(allowed.one("Remote-Email"), format!("{name}@example.test"));
    assert_eq!(allowed.one("Remote-Name"), format!("Somebody {name}"));
    assert_eq!(allowed.one("Remote-Groups"), "mail");
    assert_eq!(browser.fetch("/script").await.status, 200);
}
