//! Cookies that an application's scripts read.

use crate::fakes::server::{Reply, Request, Server};
use crate::support::{APP_PORTAL, Answer, Ask, DOORS, PortalKey, SCRIPT_COOKIES, SMALLEST, Setup, Ticket};

const LINES: [&str; 2] = ["csrf=C1; Path=/; SameSite=Strict; Secure", "lang=en; Path=/; SameSite=Strict; Secure"];

/// An application that sets three cookies at its login, of which scripts read two.
fn application(request: &Request) -> Reply {
    match request.target.as_str() {
        "/login" => Reply::new(200, "welcome")
            .with("set-cookie", "sid=S1; HttpOnly")
            .with("set-cookie", "csrf=C1")
            .with("set-cookie", "lang=en"),
        _ => Reply::new(200, "here"),
    }
}

fn numbered(answer: &Answer) -> Vec<String> {
    ["X-Set-Cookie-1", "X-Set-Cookie-2"].into_iter().filter_map(|name| answer.maybe(name)).collect()
}

#[tokio::test]
async fn a_browser_gets_the_cookies_that_scripts_read_unless_it_has_them() {
    let application = Server::start(|request| async move { application(&request) }).await.unwrap();
    let PortalKey { cookie, id, secret, .. } = APP_PORTAL;
    let config = format!(
        "[[portal]]\nname = \"customers\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
         login_url = \"https://portal.example.test/?next={{url}}\"\n[[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n\
         [[backend]]\nname = \"app\"\nkind = \"form\"\nurl = \"{}\"\n{SCRIPT_COOKIES}\n\
         [[route]]\nhost = \"app.example.test\"\nportal = \"customers\"\nbackend = \"app\"\n{SMALLEST}",
        application.url()
    );
    let keyward = Setup::new(&config).start().await;
    let ticket = Ticket::of("alice").cookie();
    for door in DOORS {
        let ask = |cookies: &str| Ask::get("https://app.example.test/").cookie(format!("{ticket}{cookies}"));
        for (cookies, missing) in [
            ("", &LINES[..]),
            ("; csrf=C1", &LINES[1..]),
            ("; csrf=C1; lang=en", &[]),
            ("; lang=en; csrf=OLD", &LINES[..1]),
            ("; csrf=C1; lang=en; csrf=OLD", &LINES[..1]),
        ] {
            let answer = keyward.ask(door, &ask(cookies)).await;
            answer.assert_allows("alice");
            assert_eq!(answer.all("Set-Cookie"), missing, "{cookies}");
            assert_eq!(numbered(&answer), missing, "{cookies}");
            assert!(answer.one("X-Upstream-Cookie").ends_with("sid=S1; csrf=C1; lang=en"), "{answer:?}");
        }
        let plain = Ask::get("http://app.example.test/").cookie(&ticket);
        assert_eq!(keyward.ask(door, &plain).await.one("X-Set-Cookie-1"), "csrf=C1; Path=/; SameSite=Strict");
        assert!(numbered(&keyward.ask(door, &Ask::get("https://app.example.test/")).await).is_empty(), "a stranger");
    }
}
