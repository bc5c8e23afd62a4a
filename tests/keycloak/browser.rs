//! What a browser does without scripts: it keeps cookies, follows redirects, and sends forms.

use keyward::observe::Door;
use reqwest::header::{COOKIE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::example::WEBMAIL;
use crate::support::{Answer, Ask, Sidecar};

/// More redirects than any sign-in has.
const MOST_HOPS: usize = 12;

/// Nobody is there, as a web server before it would say.
pub const GONE: u16 = 502;

/// Somebody's browser. What it wants of the webmail's host it asks Keyward, as the web server would.
pub struct Browser<'a> {
    keyward: &'a Sidecar,
    client: Client,
    jar: Vec<Cookie>,
    /// The port of the web server that stands before Keyward, if there is one, and who trusts it.
    web_server: Option<(Client, u16)>,
}

struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
}

/// Where the redirects ended. At the webmail the answer is Keyward's decision.
pub struct Page {
    pub url: Url,
    pub answer: Answer,
}

impl<'a> Browser<'a> {
    pub fn new(keyward: &'a Sidecar) -> Self {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { keyward, client, jar: Vec::new(), web_server: None }
    }

    /// One that asks a web server for everything of the webmail's host.
    pub fn behind(keyward: &'a Sidecar, client: Client, port: u16) -> Self {
        Self { web_server: Some((client, port)), ..Self::new(keyward) }
    }

    /// Opens an address, or a path of the webmail.
    pub async fn open(&mut self, address: &str) -> Page {
        let url = Url::parse(WEBMAIL).unwrap().join(address).unwrap();
        let answer = self.get(&url).await;
        self.follow(url, answer).await
    }

    /// Fills in the form of Keycloak's sign-in page and sends it.
    pub async fn sign_in(&mut self, page: &Page, name: &str, password: &str) -> Page {
        let (url, answer) = self.submit(page, name, password).await;
        self.follow(url, answer).await
    }

    /// The same, stopping before what Keycloak answers is looked at: the address on which it would go on.
    pub async fn sign_in_and_stop(&mut self, page: &Page, name: &str, password: &str) -> String {
        let (url, answer) = self.submit(page, name, password).await;
        self.keep(&url, &answer);
        answer.one("Location")
    }

    async fn submit(&self, page: &Page, name: &str, password: &str) -> (Url, Answer) {
        let url = page.url.join(&page.form()).unwrap();
        let fields = [("username", name), ("password", password), ("credentialId", "")];
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = self.elsewhere(Method::POST, &url, Some(body)).await;
        (url, answer)
    }

    /// A script of the webmail asks for something.
    pub async fn fetch(&self, path: &str) -> Answer {
        let ask = Ask::get(format!("{WEBMAIL}{path}")).header("Sec-Fetch-Mode", "cors").header("Accept", "*/*");
        self.keyward.ask(Door::AuthRequest, &ask.cookie(self.cookies(&Url::parse(WEBMAIL).unwrap()))).await
    }

    /// Loses the cookies of a host.
    pub fn forget(&mut self, origin: &str) {
        let url = Url::parse(origin).unwrap();
        self.jar.retain(|cookie| Some(&*cookie.host) != url.host_str());
    }

    /// What it would send there.
    fn cookies(&self, url: &Url) -> String {
        let host = url.host_str().unwrap();
        let fits = |cookie: &&Cookie| cookie.host == host && url.path().starts_with(&cookie.path);
        let pairs = self.jar.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value));
        pairs.collect::<Vec<_>>().join("; ")
    }

    async fn follow(&mut self, mut url: Url, mut answer: Answer) -> Page {
        for _ in 0..MOST_HOPS {
            self.keep(&url, &answer);
            // A decision says so with a 401, which the web server turns into a redirect.
            let Some(location) = answer.maybe("Location").filter(|_| (300..402).contains(&answer.status)) else {
                return Page { url, answer };
            };
            url = url.join(&location).unwrap();
            answer = self.get(&url).await;
        }
        panic!("it goes round in circles at {url}");
    }

    async fn get(&self, url: &Url) -> Answer {
        if url.origin().ascii_serialization() != WEBMAIL {
            return self.elsewhere(Method::GET, url, None).await;
        }
        if let Some((client, port)) = &self.web_server {
            let mut there = url.clone();
            there.set_port(Some(*port)).unwrap();
            let request = client.get(there).header("Host", url.host_str().unwrap());
            return self
                .send(request.header("Sec-Fetch-Mode", "navigate").header("Sec-Fetch-Site", "same-origin"), url)
                .await;
        }
        let cookies = self.cookies(url);
        if !url.path().starts_with("/.keyward/") {
            let ask = Ask::page(url.as_str()).header("Sec-Fetch-Mode", "navigate").cookie(cookies);
            return self.keyward.ask(Door::AuthRequest, &ask).await;
        }
        let (target, host) = (&url[url::Position::BeforePath..url::Position::AfterQuery], url.host_str().unwrap());
        self.keyward
            .exchange(format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: {host}\r\n\
                 X-Forwarded-For: 192.0.2.7\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\n\
                 Sec-Fetch-Site: same-origin\r\nCookie: {cookies}\r\n\r\n"
            ))
            .await
    }

    /// Asks Keycloak. Its cookies are for https; browsers keep them on loopback all the same.
    async fn elsewhere(&self, method: Method, url: &Url, form: Option<String>) -> Answer {
        let mut request = self.client.request(method, url.as_str());
        if let Some(form) = form {
            request = request.header("Content-Type", "application/x-www-form-urlencoded").body(form);
        }
        self.send(request, url).await
    }

    async fn send(&self, request: RequestBuilder, url: &Url) -> Answer {
        let request = request.header(COOKIE, self.cookies(url)).header("Accept", "text/html");
        let request = request.header("Accept-Language", "en");
        let Ok(answer) = request.send().await else {
            return Answer { status: GONE, headers: Vec::new(), body: Vec::new(), head_length: 0 };
        };
        let (status, headers) = (answer.status().as_u16(), lower(answer.headers()));
        Answer { status, headers, body: answer.bytes().await.unwrap().to_vec(), head_length: 0 }
    }

    fn keep(&mut self, url: &Url, answer: &Answer) {
        for line in answer.all("Set-Cookie") {
            let mut parts = line.split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let attribute = |name: &str| {
                let mut pairs = line.split(';').filter_map(|part| part.trim().split_once('='));
                pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
            };
            let (host, path) = (url.host_str().unwrap().to_owned(), attribute("Path").unwrap_or("/".to_owned()));
            self.jar.retain(|held| (&held.host, &held.path, &*held.name) != (&host, &path, name));
            if attribute("Max-Age").as_deref() != Some("0") {
                self.jar.push(Cookie { host, path, name: name.to_owned(), value: value.to_owned() });
            }
        }
    }
}

impl Page {
    /// Where its first form goes.
    fn form(&self) -> String {
        let text = self.answer.text();
        let form = text.split_once("<form").unwrap_or_else(|| panic!("no form at {}: {text}", self.url)).1;
        let action = form.split_once("action=\"").unwrap().1.split_once('"').unwrap().0;
        action.replace("&amp;", "&")
    }

    /// Whether it is Keycloak's page that asks for name and password.
    pub fn asks_for_password(&self) -> bool {
        self.answer.status == 200
            && self.url.origin().ascii_serialization() != WEBMAIL
            && self.answer.text().contains("id=\"password\"")
    }
}

fn lower(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}
