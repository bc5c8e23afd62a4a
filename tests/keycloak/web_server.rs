//! The example's `site.conf` in a real nginx, between the browser and everything else.

use std::net::SocketAddr;

use keyward::demo::nginx::{Nginx, SHIPPED};
use keyward::demo::process::{Address, free_address};
use reqwest::{Certificate, Client};
use url::Url;

use crate::browser::Browser;
use crate::example::{self, CALENDARS, WEBMAIL, password};
use crate::fakes::server::{Reply, Server};
use crate::stage::Stage;

/// What it is asked for.
const HOSTS: [&str; 2] = ["webmail.example.test", "calendars.example.test"];

/// nginx with the files of both examples.
struct WebServer {
    address: SocketAddr,
    client: Client,
    /// What programs ask for.
    calendars: Server,
    _nginx: Nginx,
    _files: tempfile::TempDir,
}

impl WebServer {
    async fn before(stage: &Stage) -> Self {
        let calendars = Server::start(|request| async move {
            let user = request.header("remote-user").unwrap_or("nobody").to_owned();
            Reply::new(200, format!("The calendar of {user}"))
        });
        let (calendars, address) = (calendars.await.unwrap(), free_address().unwrap());
        let Address::Tcp(keyward) = &stage.keyward.auth else { unreachable!("it listens on a port") };
        let [mail, events] = [stage.mail.url(), calendars.url()].map(|url| url.replace("http://", ""));
        let site = example::site(address, &keyward.to_string(), &mail, &events);
        let tls = rcgen::generate_simple_self_signed(HOSTS.map(str::to_owned)).unwrap();
        let (certificate, key) = (tls.cert.pem(), tls.signing_key.serialize_pem());
        let more = [("site.conf", &*site), ("webmail.pem", &*certificate), ("webmail.key", &*key)];
        let files = tempfile::tempdir().unwrap();
        let all: Vec<(&str, &str)> = SHIPPED.iter().copied().chain(more).collect();
        let nginx = Nginx::start(&files.path().join("nginx"), &all, address).await.unwrap();
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let client = client.tls_certs_only([Certificate::from_pem(certificate.as_bytes()).unwrap()]);
        let client = HOSTS.iter().fold(client, |client, host| client.resolve(host, address)).build().unwrap();
        Self { address, client, calendars, _nginx: nginx, _files: files }
    }

    /// A program asks, with this access token.
    async fn ask(&self, url: &str, token: &str) -> (u16, String) {
        let mut url = Url::parse(url).unwrap();
        let host = url.host_str().unwrap().to_owned();
        url.set_port(Some(self.address.port())).unwrap();
        let request = self.client.get(url).header("Host", host).bearer_auth(token);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn behind_the_examples_web_server_people_get_to_their_mailbox_and_out_again() {
    let stage = Stage::start().await;
    let server = WebServer::before(&stage).await;
    let name = stage.person(&["mail-users"]).await;
    let mut browser = Browser::behind(&stage.keyward, server.client.clone(), server.address.port());
    let page = browser.open("/?folder=5").await;
    assert!(page.asks_for_password(), "{}: {:?}", page.url, page.answer);
    let page = browser.sign_in(&page, &name, &password(&name)).await;
    assert_eq!((page.url.as_str(), page.answer.status), (&*format!("{WEBMAIL}/?folder=5"), 200), "{:?}", page.answer);
    let mailbox = format!("Mailbox of {name}");
    assert!(page.answer.text().contains(&mailbox), "{}", page.answer.text());
    // The token stays between Keyward, nginx and the mailbox.
    assert!(!page.answer.everything().contains("Bearer "));

    let page = browser.open("/?action=logout").await;
    assert_eq!(page.url.as_str(), format!("{WEBMAIL}/.keyward/signed-out/keycloak"), "{:?}", page.answer);
    assert!(page.answer.text().contains("You are signed out"));
    assert!(browser.open("/").await.asks_for_password());
}

#[tokio::test]
async fn behind_the_examples_web_server_programs_show_a_token() {
    let stage = Stage::start().await;
    let server = WebServer::before(&stage).await;
    let (ours, another) = (stage.token("calendar-sync").await, stage.token("statistics").await);
    let today = format!("{CALENDARS}/today");
    let said = (200, "The calendar of service-account-calendar-sync".to_owned());
    assert_eq!(server.ask(&today, &ours).await, said);
    assert_eq!(server.ask(&today, &another).await.0, 401);
    assert_eq!(server.ask(&format!("{WEBMAIL}/"), &ours).await.0, 401, "there Authorization is not for us");
    assert_eq!(server.calendars.requests().len(), 1);
}
