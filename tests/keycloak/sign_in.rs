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
    // The mailbox was opened with the access token, once.
    assert!(allowed.one("X-Upstream-Authorization").starts_with("Bearer "), "{allowed:?}");
    assert_eq!(browser.fetch("/script").await.status, 200);
    assert_eq!(stage.mail.logins(&format!("{name}@example.test")), 1);

    // Whoever is signed in at Keycloak already is not asked again, and gets a session of their own.
    browser.forget(WEBMAIL);
    assert_eq!(browser.fetch("/script").await.status, 401);
    let page = browser.open("/").await;
    page.answer.assert_allows(&name);
}

#[tokio::test]
async fn groups_of_the_directory_decide_what_somebody_may_open() {
    let stage = Stage::start().await;
    for (groups, mail, admin) in [
        (&["mail-users"][..], 200, 403),
        (&["mail-admins"][..], 200, 200),
        (&["mail-users", "mail-admins"][..], 200, 200),
        (&[][..], 403, 403),
    ] {
        let name = stage.person(groups).await;
        let mut browser = Browser::new(&stage.keyward);
        let page = browser.open("/").await;
        browser.sign_in(&page, &name, &example::password(&name)).await;
        for (path, expected) in [("/", mail), ("/admin/x", admin)] {
            let answer = browser.fetch(path).await;
            assert_eq!(answer.status, expected, "{groups:?} at {path}: {answer:?}");
            assert!(expected == 200 || answer.reason() == "role", "{groups:?} at {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn the_people_whom_the_example_names_are_who_it_says() {
    let stage = Stage::start().await;
    for (name, roles) in [("ana", "mail"), ("ben", "mail"), ("eva", "admin,mail")] {
        let browser = stage.signed_in(name).await;
        let answer = browser.fetch("/").await;
        let mut held: Vec<String> = answer.one("Remote-Groups").split(',').map(str::to_owned).collect();
        held.sort();
        assert_eq!(held.join(","), roles, "{name}");
    }
}

#[tokio::test]
async fn a_script_and_a_form_start_no_sign_in() {
    let stage = Stage::start().await;
    let browser = Browser::new(&stage.keyward);
    let answer = browser.fetch("/api/mails").await;
    assert_eq!((answer.status, answer.maybe("Location")), (401, None), "{answer:?}");
    assert_eq!(answer.all("Set-Cookie"), Vec::<String>::new());
}
