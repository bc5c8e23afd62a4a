//! Nothing that is secret about a sign-in is ever written anywhere, at the most talkative level.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::browser::{Browser, House, INBOX};
use crate::fakes::axigen::Person;
use crate::real::slapd;
use crate::support::Ask;

const RIGHT: &str = "Marked-P4ss wörd & #1";
const WRONG: &str = "Marked-Wr0ng-P4ssword";
const AS_NAME: &str = "Marked-P4ssword-Typed-As-Name";

/// A secret in the encodings in which it travels here.
fn forms(secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let numbers = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    vec![secret.to_owned(), form, hex, numbers, secret.escape_debug().to_string()]
}

#[tokio::test]
async fn no_password_cookie_or_token_of_a_sign_in_is_written_anywhere() {
    let mut house = House::start().await;
    house.set_password("alice", RIGHT).await;
    house.office.add(Person::new("alice", RIGHT, "alice"));
    let mut secrets: Vec<(String, String)> = [RIGHT, WRONG, AS_NAME, slapd::READER_PASSWORD]
        .map(|secret| ("a password".to_owned(), secret.to_owned()))
        .into();
    let mut pages = Vec::new();
    let shown = {
        let mut browser = Browser::new(&house);
        let form = browser.form(INBOX).await;
        for (name, password) in [("alice", WRONG), (AS_NAME, WRONG), ("alice", RIGHT)] {
            let answer = browser.submit(&form, name, password).await;
            // The name comes back into its field, and nowhere else.
            pages.push(answer.text().replace(&format!("value=\"{AS_NAME}\""), ""));
        }
        secrets.push(("a form's token".to_owned(), form.token));
        secrets.extend(browser.cookies.iter().cloned());
        browser.ask(INBOX).await.assert_allows("alice");
        browser.ask(INBOX).await.assert_allows("alice");
        browser.get("/.keyward/whoami").await;
        browser.jar()
    };
    for (name, password) in [("alice", RIGHT), ("alice", WRONG), ("bob", WRONG)] {
        let header = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        secrets.push(("a header".to_owned(), STANDARD.encode(format!("{name}:{password}"))));
        let ask = Ask::get("https://app.example.test/dav/x").header("Authorization", header);
        house.ask(&ask).await;
    }
    house.slapd.stop();
    let down = Browser::new(&house).sign_in("bob", WRONG).await;
    pages.push(down.text());
    house.ask(&Ask::page(INBOX).cookie(shown)).await;
    let (log, metrics) = (house.keyward.log(), house.keyward.metrics().await);
    for line in ["signed in with a password", "wrong name or password", "could not say whose a password is", "DEBUG"] {
        assert!(log.contains(line), "{line} is not in {log}");
    }
    for (what, secret) in &secrets {
        for form in forms(secret) {
            assert!(!log.contains(&form) && !metrics.contains(&form), "{what} was written as {form:?}");
            let is_password = what == "a password";
            assert!(!is_password || pages.iter().all(|page| !page.contains(&form)), "{what} stands in a page");
        }
    }
}
