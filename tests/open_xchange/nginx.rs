//! Browser to application through the real nginx, with injected keys.

use super::*;
use crate::house::{Browser, House, anas};
use crate::support::until;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const NEXT_FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0";
const SAFARI: &str = "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/26.0 Safari/605.1.15";

fn cookies_seen(house: &House) -> String {
    let request = house.ox.requests().into_iter().rfind(|request| request.target.contains("action=all")).unwrap();
    String::from_utf8(all(&request, "cookie").concat()).unwrap()
}

#[tokio::test]
async fn the_user_interface_finds_a_session_and_the_browser_holds_no_key() {
    for behind_apache in [false, true] {
        let house = House::start(behind_apache).await;
        let mut browser = anas("127.0.0.2", FIREFOX);
        browser.cookie += "; JSESSIONID=0815.SHOP; open-xchange-secret-IaxgQ=evil; language=de_DE";
        let page = house.get(&browser, "/appsuite/").await;
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(page.all("set-cookie").len(), 0, "{page:?}");
        let session = house.autologin(&browser).await;
        let mail = house.get(&browser, &format!("/appsuite/api/mail?action=all&session={session}")).await;
        assert!(mail.body.contains("Welcome, ana@example.test"), "{mail:?}");
        assert_eq!(mail.all("set-cookie").len(), 0);
        let seen = cookies_seen(&house);
        assert_eq!(seen.matches("JSESSIONID=").count(), 1, "{seen}");
        assert_eq!(seen.matches("open-xchange-secret-").count(), 1, "{seen}");
        assert!(!seen.contains("SHOP") && !seen.contains("evil") && !seen.contains("office_session"), "{seen}");
        assert!(seen.starts_with("language=de_DE; "), "{seen}");
        assert_eq!(house.ox.attempts(ANA), 1);
    }
}

#[tokio::test]
async fn cookies_that_the_server_renews_reach_keyward_and_not_the_browser() {
    let house = House::start(true).await;
    let browser = anas("127.0.0.2", FIREFOX);
    let session = house.autologin(&browser).await;
    house.mail(&browser, &session).await;
    let before = cookies_seen(&house);
    house.ox.drop_http_sessions();
    let renewed = async || {
        let page = house.get(&browser, &format!("/ajax/mail?action=all&session={session}")).await;
        assert!(page.body.contains("Welcome") && page.all("set-cookie").is_empty(), "{page:?}");
        cookies_seen(&house) != before
    };
    until("another JSESSIONID", renewed).await;
    assert_eq!(house.ox.attempts(ANA), 1);
}

#[tokio::test]
async fn each_browser_and_each_address_has_its_own_session_and_none_is_lost() {
    for behind_apache in [false, true] {
        let house = House::start(behind_apache).await;
        let first = anas("127.0.0.2", FIREFOX);
        // The same person and the same portal session, all three.
        let updated = Browser { agent: NEXT_FIREFOX, ..first.clone() };
        let moved = Browser { address: "127.0.0.3", ..first.clone() };
        let mut sessions = Vec::new();
        for browser in [&first, &updated, &moved] {
            let session = house.autologin(browser).await;
            assert!(house.mail(browser, &session).await.contains("Welcome"), "{session}");
            sessions.push(session);
        }
        assert_eq!(house.ox.attempts(ANA), 3, "one login each, and no loop");
        for (browser, session) in [&first, &updated, &moved].into_iter().zip(&sessions) {
            assert_eq!(house.autologin(browser).await, *session);
            assert!(house.mail(browser, session).await.contains("Welcome"));
        }
        // The page that was open before the update says so, until it is loaded anew; nothing is ended by it.
        assert!(house.mail(&updated, &sessions[0]).await.contains("SES-0206"));
        assert_eq!((house.ox.attempts(ANA), house.ox.sessions()), (3, 3));
    }
}

#[tokio::test]
async fn an_odd_user_agent_works_and_an_absurd_one_harms_nobody_else() {
    let house = House::start(false).await;
    let odd = anas("127.0.0.2", "Bröwser/1.0 (☃; 100%41) \"quoted\"");
    let session = house.autologin(&odd).await;
    assert!(house.mail(&odd, &session).await.contains("Welcome"));
    let absurd = Browser { agent: Box::leak("x".repeat(2000).into_boxed_str()), ..odd.clone() };
    assert_eq!(house.get(&absurd, "/appsuite/").await.status, 503);
    let other = Browser { agent: FIREFOX, ..odd.clone() };
    let path = "/appsuite/api/login?action=autologin&client=open-xchange-appsuite";
    until("a session", async || house.get(&other, path).await.session().is_some()).await;
    assert_eq!(house.autologin(&odd).await, session);
    assert_eq!(house.ox.attempts(ANA), 2, "nothing was asked for the absurd one");
}

#[tokio::test]
async fn a_session_that_the_server_forgot_comes_back_with_one_login() {
    let house = House::start(false).await;
    let browser = anas("127.0.0.2", SAFARI);
    let before = house.autologin(&browser).await;
    house.ox.drop_sessions();
    let after = async || {
        let path = "/appsuite/api/login?action=autologin&client=open-xchange-appsuite";
        house.get(&browser, path).await.session()
    };
    until("another session", async || after().await.is_some_and(|session| session != before)).await;
    assert_eq!(house.ox.attempts(ANA), 2);
}

#[tokio::test]
async fn log_out_in_the_application_ends_every_session_as_the_browser_that_opened_it() {
    let house = House::start(true).await;
    let first = anas("127.0.0.2", FIREFOX);
    let second = Browser { agent: SAFARI, address: "127.0.0.3", ..first.clone() };
    let session = house.autologin(&first).await;
    house.autologin(&second).await;
    let page = house.get(&first, &format!("/appsuite/api/login?action=logout&session={session}")).await;
    assert_eq!((page.status, page.all("location")), (303, vec!["/.keyward/logout"]));
    let page = house.get(&first, "/.keyward/logout").await;
    assert_eq!(page.status, 200);
    // The stand-in ends a session only for its own User-Agent and address.
    until("no session", async || house.ox.sessions() == 0).await;
    for browser in [&first, &second] {
        let page = house.get(browser, "/appsuite/api/login?action=autologin&client=open-xchange-appsuite").await;
        assert_eq!(page.status, 401, "{page:?}");
    }
    assert_eq!(house.ox.sessions(), 0);
}

#[tokio::test]
async fn what_signs_in_by_itself_passes_without_keys_and_what_is_for_administrators_does_not() {
    let house = House::start(false).await;
    let browser = anas("127.0.0.2", FIREFOX);
    let stranger = Browser { cookie: "theme=dark".to_owned(), ..browser.clone() };
    house.autologin(&browser).await;
    let asked = || house.ox.requests().iter().filter(|request| !request.target.contains("refreshSecret")).count();
    let before = asked();
    for (who, path, status) in [
        (&stranger, "/", 302),
        (&stranger, "/appsuite/", 401),
        (&stranger, "/ajax/mail?action=all&session=x", 401),
        (&stranger, "/appsuite/api/login?action=login&name=a", 401),
        (&stranger, "/ajax/login?action=formlogin", 401),
        (&stranger, "/ajax/login;jsessionid=1.OX1?action=login", 401),
        (&stranger, "/ajax/login;jsessionid=1.OX1?action=logout", 303),
        (&stranger, "/servlet/dav/../../ajax/mail", 403),
        (&browser, "/preliminary/session/v1/", 404),
        (&browser, "/PRELIMINARY;x/", 404),
        (&browser, "//admin/v1/close-sessions", 404),
        (&browser, "/%61dmin/v1/close-sessions", 404),
        (&browser, "/ajax/../webservices/OXUserService", 404),
        (&browser, "/ajax/..;/webservices/OXUserService", 403),
        (&browser, "/ajax/%252e%252e/monitoring/jolokia", 403),
        (&browser, "/servlet/easylogin", 403),
        (&browser, "/servlet/dav/%2e%2e/axis2/services", 404),
        (&browser, "/servlet/dav/..;/axis2/services", 403),
    ] {
        let page = house.get(who, path).await;
        assert_eq!(page.status, status, "{path}: {page:?}");
    }
    assert_eq!(asked(), before, "nothing of it came through");
    for path in ["/servlet/dav/caldav/1/", "/Microsoft-Server-ActiveSync?Cmd=Ping", "/usm-json/login"] {
        let page = house.send(&browser, path, "Authorization: Basic YW5hOng=\r\n").await;
        assert_eq!(page.status, 404, "the stand-in has no such thing: {page:?}");
        let request = house.ox.requests().into_iter().rfind(|request| request.target == path).unwrap();
        assert_eq!(request.header("authorization"), Some("Basic YW5hOng="));
        assert_eq!(all(&request, "cookie").len(), 0, "{path}");
        assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.2"));
    }
}
