//! Envoy, as it asks: its question, and what it would do with the answer.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::{self as core, HeaderValueOption, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use tonic::Code;
use tonic::transport::Channel;

/// A question about one request.
#[derive(Clone, Debug)]
pub struct Question {
    pub http: HttpRequest,
    source: Option<Address>,
    lines: Vec<(String, Vec<u8>)>,
    joins: bool,
}

impl Question {
    /// A GET that is no page, as Envoy tells of it with `encode_raw_headers`.
    pub fn get(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let http = HttpRequest {
            method: "GET".to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
            scheme: scheme.to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            ..HttpRequest::default()
        };
        let question = Self { http, source: None, lines: Vec::new(), joins: false }.from("127.0.0.1");
        question.line(":authority", host).line(":path", path).line("x-forwarded-proto", scheme)
    }

    /// A person looks at a page.
    pub fn page(url: &str) -> Self {
        Self::get(url).line("accept", "text/html,application/xhtml+xml;q=0.9")
    }

    /// Told of without `encode_raw_headers`.
    pub fn joined(self) -> Self {
        Self { joins: true, ..self }
    }

    pub fn line(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.lines.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.lines.retain(|(held, _)| held != name);
        self
    }

    pub fn cookie(self, value: &str) -> Self {
        self.line("cookie", value)
    }

    /// Who is connected to Envoy.
    pub fn from(self, ip: &str) -> Self {
        let address = SocketAddress { address: ip.to_owned(), ..SocketAddress::default() };
        self.over(Address::SocketAddress(address))
    }

    /// Over what they are connected to Envoy.
    pub fn over(self, source: Address) -> Self {
        Self { source: Some(source), ..self }
    }

    pub fn change(mut self, change: impl FnOnce(&mut HttpRequest)) -> Self {
        change(&mut self.http);
        self
    }

    /// The message.
    pub fn message(&self) -> CheckRequest {
        let mut http = self.http.clone();
        match self.joins {
            true => http.headers.extend(self.map()),
            false => {
                let line = |(name, value): &(String, Vec<u8>)| core::HeaderValue {
                    key: name.clone(),
                    raw_value: value.clone(),
                    ..core::HeaderValue::default()
                };
                http.header_map = Some(core::HeaderMap { headers: self.lines.iter().map(line).collect() });
            }
        }
        let request = Request { http: Some(http), ..Request::default() };
        let address = core::Address { address: self.source.clone() };
        let source = Peer { address: Some(address), ..Peer::default() };
        let attributes =
            AttributeContext { source: Some(source), request: Some(request), ..AttributeContext::default() };
        CheckRequest { attributes: Some(attributes) }
    }

    /// Lines of one name are joined by commas.
    pub fn map(&self) -> HashMap<String, String> {
        let mut map: HashMap<String, String> = HashMap::new();
        for (name, value) in &self.lines {
            let value = String::from_utf8(value.clone()).unwrap();
            map.entry(name.clone()).and_modify(|held| *held += &format!(",{value}")).or_insert(value);
        }
        map
    }

    /// The same request as Envoy asks about it over HTTP.
    pub fn over_http(&self) -> Vec<u8> {
        let HttpRequest { method, path, host, .. } = &self.http;
        let mut bytes = format!("{method} /authz/ext-authz{path} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        for (name, value) in self.lines.iter().filter(|(name, _)| !name.starts_with(':')) {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// What Envoy is told to do.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub status: u16,
    /// What takes the place of the request's own headers, or what the browser gets of a refusal.
    pub headers: Vec<(String, String)>,
    pub removed: Vec<String>,
    /// What an allow adds to the answer to the browser.
    pub to_browser: Vec<(String, String)>,
    pub body: String,
}

/// Asks, on any connection.
pub async fn ask(client: &AuthorizationClient<Channel>, question: &Question) -> Verdict {
    let answer = client.clone().check(question.message()).await.unwrap();
    Verdict::of(answer.into_inner())
}

impl Verdict {
    pub fn of(answer: CheckResponse) -> Self {
        assert_eq!(answer.dynamic_metadata, None);
        let code = answer.status.unwrap().code;
        let lines = |options: Vec<HeaderValueOption>| -> Vec<(String, String)> {
            let header = |option: HeaderValueOption| option.header.unwrap();
            options.into_iter().map(header).map(|header| (header.key, header.value)).collect()
        };
        match answer.http_response.unwrap() {
            HttpResponse::OkResponse(allowed) => {
                assert_eq!(code, Code::Ok as i32);
                assert!(allowed.query_parameters_to_set.is_empty() && allowed.query_parameters_to_remove.is_empty());
                Self {
                    status: 200,
                    headers: lines(allowed.headers),
                    removed: allowed.headers_to_remove,
                    to_browser: lines(allowed.response_headers_to_add),
                    body: String::new(),
                }
            }
            HttpResponse::DeniedResponse(denied) => {
                assert_ne!(code, Code::Ok as i32);
                let status = u16::try_from(denied.status.unwrap().code).unwrap();
                Self { status, headers: lines(denied.headers), body: denied.body, ..Self::default() }
            }
            HttpResponse::ErrorResponse(_) => panic!("an error is Envoy's own word"),
        }
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(held, _)| held == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn maybe(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there several times: {self:?}");
        all.first().copied()
    }

    /// An allow sets or takes away every header that tells who it is, so that nothing of the client's stays.
    pub fn assert_allows(&self, user: &str) -> &Self {
        assert_eq!(self.status, 200, "{self:?}");
        for name in ["remote-user", "remote-name", "remote-email", "remote-groups", "cookie", ":path"] {
            let removed = self.removed.iter().any(|removed| removed == name);
            assert!(self.maybe(name).is_some() != removed, "{name} in {self:?}");
        }
        assert_eq!(self.maybe("remote-user").unwrap_or_default(), user, "{self:?}");
        self.assert_inner_stays_inside();
        self
    }

    /// A refusal carries no key and no identity.
    pub fn assert_refuses(&self) -> &Self {
        assert!(self.status == 302 || self.status >= 400, "{self:?}");
        assert!(self.removed.is_empty() && self.to_browser.is_empty());
        assert_eq!(self.maybe("cache-control"), Some("no-store"));
        assert!(!self.headers.iter().any(|(name, _)| name == "cookie" || name == ":path"), "{self:?}");
        assert!(!self.headers.iter().any(|(name, _)| name.starts_with("remote-")), "{self:?}");
        self.assert_inner_stays_inside();
        self
    }

    fn assert_inner_stays_inside(&self) {
        let inner = |(name, _): &&(String, String)| name.starts_with("x-upstream-") || name.starts_with("x-set-cookie");
        assert_eq!(self.headers.iter().chain(&self.to_browser).find(inner), None, "{self:?}");
    }

    pub fn reason(&self) -> &str {
        self.maybe("x-keyward-reason").unwrap()
    }
}
