//! What is special about some applications, as their files have it.

use super::house::{FORM, House, SHOP, ZIMBRA, allow};
use super::servers::{Message, answer};

#[tokio::test]
async fn preauth_is_for_keyward_alone_and_zimbras_log_out_means_all_of_it() {
    let house = House::allowing().await;
    for path in [
        "/service/preauth?account=ben",
        "/service/preauth/?account=ben",
        "/service/preauth;x=1?account=ben",
        "/service/%70reauth?account=ben",
        "/service//preauth?account=ben",
        "/service/x/%2e%2e/preauth?account=ben",
        "/dav/..;/service/preauth",
        "/dav/..%2fservice/preauth",
        "/principals//service",
    ] {
        assert_eq!(house.ask(ZIMBRA, &format!("GET {path}"), &[]).status(), 403, "{path}");
        assert!(house.application.take().is_empty() && house.keyward.take().is_empty(), "{path}");
    }
    let answered = house.ask(ZIMBRA, "GET /?loginOp=logout", &[]);
    assert_eq!((answered.status(), answered.header("Location")), (302, Some("/.keyward/logout")));
    for (path, asked, cookie) in
        [("/dav/ana/Calendar/", 0, None), ("/zimbra/mail", 1, Some("theme=dark; _hmail=COOKIEKEY"))]
    {
        let answered = house.ask(ZIMBRA, &format!("GET {path}"), &["Cookie: ZM_AUTH_TOKEN=evil"]);
        assert_eq!((answered.status(), house.keyward.take().len()), (200, asked), "{path}");
        assert_eq!(house.application.only().header("Cookie"), cookie, "{path}");
    }
}

#[tokio::test]
async fn the_cookies_of_an_application_with_a_form_stay_with_keyward() {
    let house = House::with(allow, |_| answer(200, &[("Set-Cookie", "sid=key")], "mail")).await;
    let answered = house.ask(FORM, "POST /login", &["Cookie: sid=evil", "Content-Length: 0"]);
    assert_eq!((answered.status(), answered.header("Set-Cookie")), (200, None));
    assert_eq!(house.application.only().header("Cookie"), Some("theme=dark; _hmail=COOKIEKEY"));
}

#[tokio::test]
async fn a_cookie_with_a_path_in_its_name_goes_upstream_once_and_never_to_the_browser() {
    let keys = "theme=dark; WSYID1/express/site/shop=17.0a9b";
    let script = move |asked: &Message| allow(asked).replace("theme=dark; _hmail=COOKIEKEY", keys);
    let set = [("Set-Cookie", "WSYID1/express/site/shop=18.ffff; Path=/")];
    let house = House::with(script, move |_| answer(200, &set, "shop")).await;
    let sent = "Cookie: theme=dark; WSYID1/express/site/shop=1.bad";
    let answered = house.ask(SHOP, "GET /express/site/shop", &[sent]);
    assert_eq!((answered.status(), answered.all("Set-Cookie").len()), (200, 0));
    assert_eq!(house.keyward.only().header("Cookie"), sent.strip_prefix("Cookie: "), "Keyward cuts it");
    assert_eq!(house.application.only().header("Cookie"), Some(keys));
    for target in ["/express/site/shop?SSOLOGIN=BEN&SSOPWD=t", "/?ssopwd=x"] {
        assert_eq!(house.ask(SHOP, &format!("GET {target}"), &[]).status(), 403, "{target}");
    }
    assert_eq!((house.keyward.take().len(), house.application.take().len()), (0, 0));
}
