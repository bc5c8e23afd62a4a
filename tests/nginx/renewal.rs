//! A page that the application took for a stranger's is renewed, once.

use super::house::{House, MAIL, allow};
use super::servers::{Message, answer};

/// An application that knows only the new key.
fn strict(request: &Message) -> String {
    if request.asked().ends_with("_h=NEWKEY") {
        answer(200, &[], &request.body)
    } else {
        answer(401, &[("WWW-Authenticate", "Basic realm=app")], "who are you?")
    }
}

fn renewing(asked: &Message) -> String {
    let allowed = allow(asked);
    if asked.asked() == "GET /authz/renew" { allowed.replace("KEY", "NEWKEY") } else { allowed }
}

#[tokio::test]
async fn a_get_that_the_application_took_for_a_strangers_is_renewed_once() {
    let house = House::with(renewing, strict).await;
    assert_eq!(house.ask(MAIL, "GET /?a", &[]).status(), 200);
    let asked: Vec<String> = house.keyward.take().iter().map(|request| request.asked().to_owned()).collect();
    assert_eq!(asked, ["GET /authz/auth-request", "GET /authz/renew"]);
    let seen = house.application.take();
    assert_eq!(seen[0].asked(), "GET /?a&_h=KEY");
    assert_eq!(seen[1].asked(), "GET /?a&_h=NEWKEY");
    assert_eq!(seen[1].header("Cookie"), Some("theme=dark; _hmail=COOKIENEWKEY"));
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn what_the_application_still_refuses_is_its_own_401() {
    let house = House::with(allow, strict).await;
    let answered = house.ask(MAIL, "GET /", &[]);
    assert_eq!((answered.status(), answered.body.as_str()), (401, "who are you?"));
    assert_eq!(answered.header("Location"), None);
    assert_eq!((house.keyward.take().len(), house.application.take().len()), (2, 2));
}

#[tokio::test]
async fn nothing_but_a_get_is_ever_sent_twice() {
    let house = House::with(renewing, strict).await;
    for start in ["POST /", "PUT /", "DELETE /", "PROPFIND /"] {
        let answered = house.ask(MAIL, start, &["Content-Length: 0"]);
        assert_eq!((answered.status(), answered.body.as_str()), (401, "who are you?"), "{start}");
        assert_eq!((house.keyward.take().len(), house.application.take().len()), (1, 1), "{start}");
    }
}

#[tokio::test]
async fn a_renewal_that_fails_is_answered_like_a_decision() {
    for (status, expected) in [(401, 302), (403, 403), (503, 503), (500, 503)] {
        let script = move |asked: &Message| match asked.asked() {
            "GET /authz/renew" => answer(status, &[("X-Keyward-Reason", "busy"), ("Location", "http://p.test/")], ""),
            _ => allow(asked),
        };
        let house = House::with(script, strict).await;
        assert_eq!(house.ask(MAIL, "GET /", &[]).status(), expected, "{status}");
        assert_eq!(house.application.take().len(), 1, "{status}");
    }
}
