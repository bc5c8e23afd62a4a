//! Whose session is brought: several portals, and portals of another kind.

use serde_json::json;

use crate::house::{Browser, House};
use crate::support::{Ask, Door, MAIL_PORTAL, PortalKey, Setup, Ticket, now, password_of};
use crate::{MAIL, MAIL_ROUTE};

const START: &str = "https://portal.example.test/.keyward/enter/mail";
const THERE: &str = "https://webmail.other.test/.keyward/enter/mail";
const API_KEY: &str = "00112233445566778899aabbccddeeff";

#[tokio::test]
async fn each_is_led_to_the_portal_that_vouches_for_the_host() {
    let origins = "origins = [\"https://portal.example.test\", \"https://post.example.test\"]";
    let house = House::with(origins, &[MAIL_ROUTE], |config| {
        let PortalKey { name, cookie, id, secret } = MAIL_PORTAL;
        Setup::new(&format!(
            "{config}[[portal]]\nname = \"{name}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
             login_url = \"https://post.example.test/in?next={{url}}\"\n[[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n\
             [[route]]\nhost = \"webmail.third.test\"\nportal = \"{name}\"\nbackend = \"mail\"\n"
        ))
    });
    let house = house.await;
    let mut bob = Browser::default();
    bob.set("post.example.test", &Ticket::of("bob").portal(MAIL_PORTAL).cookie());
    let location = bob.enter(&house, "https://webmail.third.test/.keyward/enter/mail").await;
    assert!(location.starts_with("https://webmail.third.test/?_h="), "{location}");
    assert!(bob.way[1].starts_with("https://post.example.test/.keyward/enter/mail?state="), "{:#?}", bob.way);
    let location = Browser::of(&Ticket::of("alice")).enter(&house, THERE).await;
    assert!(location.starts_with("https://webmail.other.test/?_h="), "{location}");
}

#[tokio::test]
async fn a_session_of_any_portal_of_the_route_is_brought_as_that_portals() {
    let house = House::with("origins = [\"https://portal.example.test\"]", &[MAIL_ROUTE], |config| {
        let PortalKey { name, cookie, id, secret } = MAIL_PORTAL;
        let config = config.replace("portal = \"office\"", "portal = [\"office\", \"post\"]");
        Setup::new(&format!(
            "{config}[[portal]]\nname = \"{name}\"\nkind = \"ticket\"\ncookie = \"{cookie}\"\n\
             login_url = \"https://portal.example.test/post?next={{url}}\"\n\
             [[portal.key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n"
        ))
    });
    let house = house.await;
    let (alice, bob) = (Ticket::of("alice"), Ticket::of("bob").portal(MAIL_PORTAL));
    let inside = |browser: &Browser| {
        Ask::get(format!("{MAIL}/")).cookie(browser.cookies("webmail.other.test").trim_start_matches("Cookie: "))
    };
    let mut second = Browser::default();
    second.set("portal.example.test", &bob.cookie());
    assert!(second.enter(&house, START).await.starts_with("https://webmail.other.test/"));
    assert!(second.cookie("webmail.other.test", MAIL_PORTAL.cookie).is_some());
    assert_eq!(second.cookie("webmail.other.test", crate::support::APP_PORTAL.cookie), None);
    house.keyward.ask(Door::AuthRequest, &inside(&second)).await.assert_allows("bob");
    // Of both the first portal's is brought, as a decision would take it.
    let mut both = Browser::of(&alice);
    both.set("portal.example.test", &bob.cookie());
    both.enter(&house, START).await;
    house.keyward.ask(Door::AuthRequest, &inside(&both)).await.assert_allows("alice");
    let mut stranger = Browser::default();
    let location = stranger.enter(&house, START).await;
    assert!(location.starts_with("https://portal.example.test/login?next="), "{location}");
}

#[tokio::test]
async fn a_cookie_that_says_nothing_of_itself_is_brought_as_it_is_until_the_portal_ends_the_session() {
    let house = House::with("origins = [\"https://portal.example.test\"]", &[MAIL_ROUTE], |config| {
        let (portal, rest) = config.split_once("[[portal.key]]").unwrap();
        let (_, rest) = rest.split_once("[[backend]]").unwrap();
        let portal = portal.replace("kind = \"ticket\"", "kind = \"registered\"");
        let key = format!("[[api.key]]\ncaller = \"portal\"\nsecret = \"{API_KEY}\"\n");
        Setup::new(&format!("{key}{portal}[[backend]]{rest}")).with_api()
    });
    let house = house.await;
    // As it stands in the browser, and as it stands in an address.
    let (sid, encoded) = ("s:q7/+b0=Zx.9f3a,11~!*()'&", "s%3Aq7%2F%2Bb0%3DZx.9f3a%2C11~%21%2A%28%29%27%26");
    let call = async |method: &str, body: &str| {
        let head = format!(
            "{method} /v1/sessions/{encoded} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {API_KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        house.keyward.call(head).await.status
    };
    let session = json!({"user": "alice", "password": password_of("alice"), "expires": now() + 600});
    assert_eq!(call("PUT", &session.to_string()).await, 201);
    let mut alice = Browser::default();
    alice.set("portal.example.test", &format!("office_session={sid}"));
    assert!(alice.enter(&house, START).await.starts_with("https://webmail.other.test/?_h="));
    assert_eq!(alice.cookie("webmail.other.test", "office_session").as_deref(), Some(sid));
    let ask = Ask::get(format!("{MAIL}/")).cookie(alice.cookies("webmail.other.test").trim_start_matches("Cookie: "));
    house.keyward.ask(Door::AuthRequest, &ask).await.assert_allows("alice");

    // Another hand-over is under way when the portal ends the session.
    let there = alice.step(&house, THERE).await.one("Location");
    let token = alice.step(&house, &there).await.one("Location");
    assert!(token.contains("token="), "{token}");
    assert_eq!(call("DELETE", "").await, 204);
    assert_eq!(alice.step(&house, &token).await.status, 403);
    assert_eq!(house.keyward.ask(Door::AuthRequest, &ask).await.assert_refuses().status, 401);
}
