//! Two Keywards: the host of a portal's people, and the client in front of a mailbox.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::fakes::server::{Reply, Server, forward, locked};
use super::fakes::zimbra::{KEY as PREAUTH_KEY, Zimbra};
use super::support::{Address, Answer, Ask, Door, Setup, Sidecar, Ticket, until};
use super::{KEY, cookie_of, json, request, ticket_portal};

/// What passes by on its way from one to the other. It is known before either has started.
struct Wiretap {
    server: Server,
    to: Arc<Mutex<Option<SocketAddr>>>,
}

impl Wiretap {
    async fn start() -> Self {
        let to = Arc::new(Mutex::new(None::<SocketAddr>));
        let shared = Arc::clone(&to);
        let server = Server::start(move |request| {
            let to = *locked(&shared);
            async move {
                let reply = forward(to.unwrap(), &request).await;
                reply.unwrap_or_else(|_| Reply::new(502, ""))
            }
        });
        Self { server: server.await.unwrap(), to }
    }

    fn leads_to(&self, address: SocketAddr) {
        *locked(&self.to) = Some(address);
    }

    /// How often something was called whose path ends so.
    fn calls(&self, end: &str) -> usize {
        self.server.requests().iter().filter(|request| request.path().ends_with(end)).count()
    }
}

struct Pair {
    host: Sidecar,
    client: Sidecar,
    to_host: Wiretap,
    to_client: Wiretap,
    mailboxes: Zimbra,
}

async fn pair() -> Pair {
    let mailboxes = Zimbra::start(vec!["alice@example.test".to_owned()]).await.unwrap();
    let (to_host, to_client) = (Wiretap::start().await, Wiretap::start().await);
    let host = format!(
        "{}[[backend]]\nname = \"mail\"\nkind = \"epixel\"\nurl = \"{}\"\ncredentials = \"none\"\n\
         login = \"{{sub}}@example.test\"\ncookies = [\"keyward\"]\ncheck_path = \"/.keyward/whoami\"\n\
         wait_for_acknowledgement = true\n[[backend.key]]\nsecret = \"{KEY}\"\n\
         [[route]]\nhost = \"mail.example.test\"\nportal = \"office\"\nbackend = \"mail\"\n",
        ticket_portal(),
        to_client.server.url(),
    );
    let client = format!(
        "[[portal]]\nname = \"mlm\"\nkind = \"one-time-token\"\ncookie = \"keyward\"\n\
         login_url = \"https://portal.example.test/?next={{url}}\"\nhost = \"{}\"\napikey = \"{KEY}\"\n\
         [[backend]]\nname = \"zimbra\"\nkind = \"zimbra\"\nurl = \"{}\"\ncredentials = \"none\"\n\
         preauth_key = \"{PREAUTH_KEY}\"\n\
         [[route]]\nhost = \"mail.example.test\"\nportal = \"mlm\"\nbackend = \"zimbra\"\n",
        to_host.server.url(),
        mailboxes.url(),
    );
    let host = Setup::new(&host).with_api().start().await;
    let client = Setup::new(&client).with_api().start().await;
    let Address::Tcp(auth) = client.auth else { panic!("a port") };
    to_host.leads_to(host.api);
    to_client.leads_to(auth);
    Pair { host, client, to_host, to_client, mailboxes }
}

impl Pair {
    async fn ask(&self, keyward: &Sidecar, cookie: &str) -> Answer {
        keyward.ask(Door::AuthRequest, &Ask::get("https://mail.example.test/").cookie(cookie)).await
    }

    /// Lets the host sign her in at the client, and gives the key that it holds then.
    async fn entered_by_host(&self, ticket: &str) -> String {
        let answer = self.ask(&self.host, ticket).await;
        answer.assert_allows("alice");
        let cookies = answer.one("X-Upstream-Cookie");
        cookies.split("; ").find(|pair| pair.starts_with("keyward=")).unwrap().to_owned()
    }

    /// Lets her browser go to the client itself, and gives the cookie that it gets there.
    async fn entered_by_browser(&self, ticket: &str) -> String {
        let lines = [format!("Cookie: {ticket}"), "Sec-Fetch-Site: same-origin".to_owned()];
        let body = json!({ "service": "mail" }).to_string();
        let asked = request("PUT", "/sso/v1/service-request/", "portal.example.test", &lines, &body);
        let url = json(&self.host.exchange(asked).await)["url"].as_str().unwrap().to_owned();
        let target = url.strip_prefix(&self.to_client.server.url()).unwrap().to_owned();
        let answer = self.client.get(&target, &[]).await;
        assert_eq!((answer.status, answer.one("location").as_str()), (303, "/"));
        cookie_of(&answer)
    }

    /// Her mailbox opens by what the client puts on the request.
    async fn assert_mailbox_opens(&self, cookie: &str) {
        let answer = self.ask(&self.client, cookie).await;
        answer.assert_allows("alice@example.test");
        let keys = answer.one("X-Upstream-Cookie");
        assert!(keys.contains("ZM_AUTH_TOKEN=") && !keys.contains("keyward="), "{keys}");
        let address = self.mailboxes.url().trim_start_matches("http://").parse().unwrap();
        let page = super::fakes::server::Request {
            method: "GET".to_owned(),
            target: "/zimbra".to_owned(),
            headers: vec![("host".to_owned(), b"mail".to_vec()), ("cookie".to_owned(), keys.into_bytes())],
            body: Vec::new(),
        };
        let page = forward(address, &page).await.unwrap();
        assert!(page.status == 200 && String::from_utf8_lossy(&page.body).contains("alice@example.test"), "{page:?}");
    }

    async fn is_out(&self, keyward: &Sidecar, cookie: &str) -> bool {
        self.ask(keyward, cookie).await.status == 401
    }

    fn mailboxes_closed(&self) -> usize {
        let ends = |request: &&super::fakes::server::Request| request.path().ends_with("EndSessionRequest");
        self.mailboxes.requests().iter().filter(ends).count()
    }
}

#[tokio::test]
async fn whoever_signs_out_at_the_host_is_signed_out_of_the_mailbox_at_the_client() {
    let pair = pair().await;
    let ticket = Ticket::of("alice").cookie();
    let (held, own) = (pair.entered_by_host(&ticket).await, pair.entered_by_browser(&ticket).await);
    assert_ne!(held, own);
    pair.assert_mailbox_opens(&held).await;
    pair.assert_mailbox_opens(&own).await;
    assert_eq!(pair.host.get("/.keyward/logout", &[&format!("Cookie: {ticket}")]).await.status, 200);
    until("the end at the client", || async {
        pair.is_out(&pair.client, &held).await && pair.is_out(&pair.client, &own).await
    })
    .await;
    until("the end of both mailboxes", || async { pair.mailboxes_closed() == 2 }).await;
    assert!(pair.is_out(&pair.host, &ticket).await);
    assert_eq!(pair.to_client.calls("/sso/epixel/logout"), 2, "one for each session");
    assert_eq!(pair.to_host.calls("/sso/logout/"), 0, "nobody tells the host what it said itself");
}

#[tokio::test]
async fn whoever_signs_out_at_the_client_is_signed_out_at_the_host() {
    let pair = pair().await;
    let ticket = Ticket::of("alice").cookie();
    let (held, own) = (pair.entered_by_host(&ticket).await, pair.entered_by_browser(&ticket).await);
    pair.assert_mailbox_opens(&held).await;
    pair.assert_mailbox_opens(&own).await;
    assert_eq!(pair.client.get("/.keyward/logout", &[&format!("Cookie: {own}")]).await.status, 200);
    assert!(pair.is_out(&pair.client, &own).await, "here at once");
    until("the end at the host", || async { pair.is_out(&pair.host, &ticket).await }).await;
    until("the end of her other session", || async { pair.is_out(&pair.client, &held).await }).await;
    until("the end of both mailboxes", || async { pair.mailboxes_closed() == 2 }).await;
    assert_eq!(pair.to_host.calls("/sso/logout/"), 1, "once");
    assert_eq!(pair.to_client.calls("/sso/epixel/logout"), 1, "only of what it did not end itself");
    assert_eq!(pair.ask(&pair.host, &ticket).await.reason(), "revoked");
}

#[tokio::test]
async fn a_session_that_the_client_has_ended_is_found_dead() {
    let pair = pair().await;
    let ticket = Ticket::of("alice").cookie();
    let held = pair.entered_by_host(&ticket).await;
    let lines = format!("Cookie: {held}");
    assert_eq!(pair.client.get("/.keyward/whoami", &[&lines]).await.status, 200);
    assert_eq!(pair.client.get("/.keyward/logout", &[&lines]).await.status, 200);
    assert_eq!(pair.client.get("/.keyward/whoami", &[&lines]).await.status, 401);
    until("the end at the host", || async { pair.is_out(&pair.host, &ticket).await }).await;
    assert_eq!(pair.to_client.calls("/sso/epixel/logout"), 0);
}
