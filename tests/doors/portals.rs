//! Several portals before one application: whose session counts, and what is said where one of them cannot
//! tell.

use serde_json::{Value, json};

use crate::fakes::axigen::Axigen;
use crate::fakes::server::{Fault, Reply, Request, Server};
use crate::support::{
    APP_PORTAL, Answer, Ask, DOORS, Door, MAIL_PORTAL, PortalKey, Setup, Sidecar, Ticket, mailboxes, now,
};

const INBOX: &str = "https://all.example.test/inbox";
const API_KEY: &str = "00112233445566778899aabbccddeeff";
/// Its cookie has the same name as the other's, and its key the same id.
const TWIN: PortalKey = PortalKey { name: "twin", cookie: APP_PORTAL.cookie, ..MAIL_PORTAL };

/// A portal that must be asked, then two that sign tickets.
struct House {
    keyward: Sidecar,
    /// The one that is asked. Whatever the cookie says is the user's name.
    asked: Server,
    post: Axigen,
}

impl House {
    async fn start() -> Self {
        let (post, asked) = (mailboxes().await, Server::start(|request| std::future::ready(session(&request))));
        let asked = asked.await.unwrap();
        let signing = |portal: PortalKey| {
            format!(
                "[[portal]]\nname = \"{0}\"\nkind = \"ticket\"\ncookie = \"{1}\"\n\
                 login_url = \"https://{0}.portal.test/?next={{url}}\"\n\
                 [[portal.key]]\nid = \"{2}\"\nsecret = \"{3}\"\n",
                portal.name, portal.cookie, portal.id, portal.secret
            )
        };
        let route = |host: &str, path: &str, rest: &str| {
            format!("[[route]]\nhost = \"{host}.example.test\"\npath = \"{path}\"\n{rest}\n")
        };
        let all = "portal = [\"asked\", \"office\", \"twin\"]";
        let config = [
            format!("[[api.key]]\ncaller = \"asked\"\nsecret = \"{API_KEY}\"\nportal = \"asked\"\n"),
            format!(
                "[[portal]]\nname = \"asked\"\nkind = \"introspect\"\ncookie = \"asked_session\"\nurl = \"{}/me\"\n\
                 login_url = \"https://asked.portal.test/?next={{url}}\"\n",
                asked.url()
            ),
            signing(APP_PORTAL),
            signing(TWIN),
            format!("[[backend]]\nname = \"post\"\nkind = \"axigen\"\nurl = \"{}\"\n", post.url()),
            route("all", "/admin", &format!("{all}\nroles = [\"admin\"]\nbackend = \"post\"")),
            route("all", "/", &format!("{all}\nbackend = \"post\"")),
            route("gate", "/", "portal = [\"twin\", \"office\"]"),
        ];
        Self { keyward: Setup::new(&config.concat()).with_api().start().await, asked, post }
    }

    async fn ask(&self, door: Door, url: &str, cookies: &str) -> Answer {
        self.keyward.ask(door, &Ask::get(url).cookie(cookies)).await
    }
}

fn session(request: &Request) -> Reply {
    let cookies = request.cookies();
    let user = cookies.get("asked_session").map(String::as_str).unwrap_or_default();
    if !["alice", "bob", "carol"].contains(&user) {
        return Reply::json(200, &json!({ "active": false }));
    }
    let password = crate::support::password_of(user);
    let sid = format!("the-session-of-{user}");
    let said = json!({ "active": true, "sid": sid, "user": user, "password": password, "exp": now() + 600 });
    Reply::json(200, &said)
}

fn signed(portal: PortalKey, user: &str, roles: &[&str]) -> String {
    Ticket::of(user).portal(portal).roles(roles).cookie()
}

#[tokio::test]
async fn the_first_portal_with_a_session_counts_and_its_roles_alone() {
    let house = House::start().await;
    let (office, twin) = (signed(APP_PORTAL, "bob", &[]), signed(TWIN, "carol", &["admin"]));
    for door in DOORS {
        for (cookies, user) in [
            ("asked_session=alice".to_owned(), "alice"),
            (office.clone(), "bob"),
            (twin.clone(), "carol"),
            (format!("asked_session=alice; {office}"), "alice"),
            (format!("{office}; asked_session=alice"), "alice"),
            (format!("asked_session=nobody; {office}"), "bob"),
            // Under one name two portals find a session each; the earlier portal's counts.
            (format!("{twin}; {office}"), "bob"),
        ] {
            let answer = house.ask(door, INBOX, &cookies).await;
            let upstream = answer.assert_allows(user).one("X-Upstream-Cookie");
            let key = upstream.strip_prefix("_hmail=").unwrap_or_else(|| panic!("{upstream}: no portal's cookie"));
            assert_eq!(house.post.owner(key).as_deref(), Some(user), "{cookies}");
            let admin = house.ask(door, "https://all.example.test/admin", &cookies).await;
            match user {
                "carol" => drop(admin.assert_allows("carol")),
                _ => assert_eq!(admin.assert_refuses().reason(), "role", "{cookies}"),
            }
        }
        // The order is each route's own.
        let gate = house.ask(door, "https://gate.example.test/", &format!("{office}; {twin}")).await;
        gate.assert_allows("carol");
    }
}

#[tokio::test]
async fn people_sign_in_at_the_first_portal() {
    let house = House::start().await;
    for door in DOORS {
        for (url, first) in [(INBOX, "asked"), ("https://gate.example.test/", "twin")] {
            for cookies in ["", "office_session=junk", "asked_session=nobody"] {
                let ask = Ask::page(url).cookie(cookies);
                let login = house.keyward.ask(door, &ask).await.login();
                assert!(login.starts_with(&format!("https://{first}.portal.test/?next=")), "{login}");
            }
        }
    }
}

#[tokio::test]
async fn one_session_name_at_several_portals_is_several_sessions() {
    let house = House::start().await;
    let sid = "one-name-for-two-sessions";
    let [office, twin] =
        [(APP_PORTAL, "bob"), (TWIN, "carol")].map(|(portal, user)| Ticket::of(user).portal(portal).sid(sid).cookie());
    for cookie in [&office, &twin, &office] {
        house.ask(Door::AuthRequest, INBOX, cookie).await;
    }
    assert_eq!((house.post.logins("bob"), house.post.logins("carol")), (1, 1));
    // A sign-out in one browser ends what that browser has, at whichever portal.
    let out = house.keyward.get("/.keyward/logout", &[&format!("Cookie: {office}")]).await;
    assert_eq!(out.status, 200);
    assert_eq!(house.ask(Door::AuthRequest, INBOX, &office).await.reason(), "revoked");
    house.ask(Door::AuthRequest, INBOX, &twin).await.assert_allows("carol");
    // Nobody who is signed out is taken for whom another portal knows in the same browser.
    for cookies in [format!("{office}; {twin}"), format!("{twin}; {office}")] {
        let answer = house.ask(Door::AuthRequest, INBOX, &cookies).await;
        assert_eq!(answer.assert_refuses().reason(), "revoked", "{cookies}");
    }
}

#[tokio::test]
async fn a_sign_out_and_a_touch_reach_every_portals_session() {
    let house = House::start().await;
    let (office, twin) = (signed(APP_PORTAL, "bob", &[]), signed(TWIN, "carol", &[]));
    let all = format!("asked_session=alice; {office}; {twin}");
    for cookie in ["asked_session=alice", &office, &twin] {
        assert_eq!(house.ask(Door::AuthRequest, INBOX, cookie).await.status, 200);
    }
    let line = format!("Cookie: {all}");
    let whoami = house.keyward.get("/.keyward/whoami", &[&line]).await;
    let person: Value = serde_json::from_slice(&whoami.body).unwrap();
    assert_eq!((&person["portal"], &person["user"]), (&json!("asked"), &json!("alice")));
    let own = [line.as_str(), "Sec-Fetch-Site: same-origin"];
    assert_eq!(house.keyward.get("/.keyward/touch", &own).await.status, 204);
    assert_eq!(house.keyward.get("/.keyward/logout", &[&line]).await.status, 200);
    for cookie in ["asked_session=alice", &office, &twin] {
        let answer = house.ask(Door::AuthRequest, INBOX, cookie).await;
        assert_eq!(answer.assert_refuses().reason(), "revoked", "{cookie}");
    }
    assert_eq!(house.keyward.get("/.keyward/whoami", &[&line]).await.status, 401);
}

#[tokio::test]
async fn where_a_portal_cannot_be_asked_nobody_else_is_tried_and_everybody_is_told_so() {
    let house = House::start().await;
    let office = signed(APP_PORTAL, "bob", &[]);
    let series = "keyward_portal_validations_total{portal=\"asked\",verdict=\"unreachable\"}";
    house.asked.misbehave(Some(Fault::CloseAtOnce));
    let before = house.keyward.metric(series).await;
    let both = format!("asked_session=alice; {office}");
    let is_unavailable = |answer: &Answer| {
        assert_eq!((answer.status, answer.reason().as_str()), (503, "portal_unavailable"), "{answer:?}");
        assert!(answer.one("Retry-After").parse::<u64>().unwrap() >= 1);
        assert_eq!(answer.maybe("Location"), None, "an outage is no reason to sign in");
    };
    for door in DOORS {
        for url in [INBOX, "https://all.example.test/admin"] {
            for ask in [Ask::get(url), Ask::page(url), Ask::get(url).method("POST")] {
                let answer = house.keyward.ask(door, &ask.cookie(&both)).await;
                is_unavailable(answer.assert_refuses());
            }
        }
        let page = house.keyward.ask(door, &Ask::page(INBOX).cookie(&both)).await;
        assert!(page.text().contains("The portal cannot be reached right now"), "{}", page.text());
        // Whoever brings nothing that it would have to be asked about is not held up.
        house.ask(door, INBOX, &office).await.assert_allows("bob");
        house.ask(door, "https://gate.example.test/", &both).await.assert_allows("bob");
    }
    assert!(house.keyward.metric(series).await > before);
    let line = format!("Cookie: {both}");
    is_unavailable(&house.keyward.get("/.keyward/whoami", &[&line]).await);
    let at = ["X-Forwarded-Host: all.example.test", "X-Forwarded-Proto: https", line.as_str()];
    is_unavailable(&house.keyward.get("/.keyward/enter/post", &at).await);
    // Somebody of the browser's is known, and their session is kept alive.
    let own = [line.as_str(), "Sec-Fetch-Site: same-origin"];
    assert_eq!(house.keyward.get("/.keyward/touch", &own).await.status, 204);
    let own = ["Cookie: asked_session=alice", "Sec-Fetch-Site: same-origin"];
    is_unavailable(&house.keyward.get("/.keyward/touch", &own).await);
    let call = format!(
        "GET /v1/sessions/the-session-of-alice/keys/post HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {API_KEY}\r\n\
         X-Keyward-Ticket: alice\r\n\r\n"
    );
    let answer = house.keyward.call(&call).await;
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &problem["reason"]), (503, &json!("portal_unavailable")), "{problem}");
    assert!(answer.one("Retry-After").parse::<u64>().unwrap() >= 1);
    assert_eq!(house.post.logins("alice"), 0);
    // An outage signs nobody out.
    house.asked.misbehave(None);
    crate::support::until("the portal is asked again", || async {
        house.ask(Door::AuthRequest, INBOX, &both).await.status == 200
    })
    .await;
    house.ask(Door::AuthRequest, INBOX, &both).await.assert_allows("alice");
    let keys = house.keyward.call(&call).await;
    assert_eq!(keys.status, 200, "{keys:?}");
}

#[tokio::test]
async fn a_hand_over_takes_whom_a_decision_would_take() {
    let house = House::start().await;
    let (office, twin) = (signed(APP_PORTAL, "bob", &[]), signed(TWIN, "carol", &[]));
    let enter = async |cookies: &str| {
        let cookies = format!("Cookie: {cookies}");
        let at = ["X-Forwarded-Host: all.example.test", "X-Forwarded-Proto: https", "Accept: text/html", &cookies];
        house.keyward.get("/.keyward/enter/post", &at).await
    };
    for (cookies, user) in [
        ("asked_session=alice".to_owned(), "alice"),
        (office.clone(), "bob"),
        (twin.clone(), "carol"),
        (format!("{twin}; {office}; asked_session=alice"), "alice"),
    ] {
        let answer = enter(&cookies).await;
        assert_eq!(answer.status, 303, "{cookies}: {answer:?}");
        assert!(answer.one("Location").starts_with("https://all.example.test/"), "{answer:?}");
        let given = answer.one("Set-Cookie");
        let key = given.strip_prefix("_hmail=").unwrap().split(';').next().unwrap();
        assert_eq!(house.post.owner(key).as_deref(), Some(user), "{cookies}");
    }
    let stranger = enter("office_session=junk").await;
    assert!(stranger.one("Location").starts_with("https://asked.portal.test/?next="), "{stranger:?}");
}
