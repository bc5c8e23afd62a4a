use futures_util::future::BoxFuture;

use super::{Browser, Cookies, Person, SessionHandle};

/// From where a service can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Through the web server, by anybody: on the listener for decisions.
    Browsers,
    /// By other servers only: on the listener of the API.
    Servers,
}

/// A request to one of the [`Service`]s, whatever protocol brought it.
pub struct Call<'a> {
    /// Where it came in.
    pub reach: Reach,
    /// The method, in capitals.
    pub method: &'a str,
    /// The path as it came, without the query.
    pub path: &'a str,
    /// The query as it came, without its `?`, or empty.
    pub query: &'a str,
    /// The origin that was asked, such as `https://webmail.example.test`; empty where it is not known.
    pub origin: &'a str,
    /// The browser's cookies.
    pub cookies: Cookies<'a>,
    /// Who calls: behind trusted proxies the browser, else the peer.
    pub browser: &'a dyn Browser,
    /// The body, at most 64 KiB.
    pub body: &'a [u8],
    /// For whom another service of the same kind vouched, because it knows the caller.
    pub vouched: Option<&'a Person>,
}

impl Call<'_> {
    /// Whether the browser came by https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.origin.starts_with("https://")
    }
}

/// What a service answers. Every answer is sent with `Cache-Control: no-store` and
/// `Referrer-Policy: no-referrer`, unless it says another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// More headers, names in lower case. One that cannot stand in an answer is left out.
    pub headers: Vec<(&'static str, String)>,
    /// The body, with its `content-type` among the headers.
    pub body: String,
}

/// Who answers a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    /// This service, so.
    Here(Reply),
    /// Another of the same kind may; if none does, this is the answer.
    Elsewhere(Reply),
    /// The caller is known here, and another of the same kind is to hear the call. If none answers, this
    /// is the answer, whatever those say who do not know the caller.
    Vouched {
        /// For whom the caller may speak.
        person: Option<Person>,
        /// The answer, if there is no other.
        reply: Reply,
    },
}

/// Something that a back-end or a portal offers to other servers or to browsers, beside what every
/// back-end and every portal does.
pub trait Service: Send + Sync {
    /// Whether a call of this method and path is for this service.
    fn takes(&self, reach: Reach, method: &str, path: &str) -> bool;

    /// Answers it. Whether the caller may call at all is the service's own matter.
    fn answer<'a>(&'a self, call: &'a Call<'a>, desk: &'a dyn Desk) -> BoxFuture<'a, Answered>;
}

/// Nobody can tell at the moment: a portal, or the store that replicas share, could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear;

/// What services may ask of the house they are in.
pub trait Desk: Send + Sync {
    /// Whose session the caller's cookies are: of the first portal that vouches for them.
    fn person<'a>(&'a self, call: &'a Call<'a>) -> BoxFuture<'a, Result<Option<Person>, Unclear>>;

    /// The person as the portal knows them by now, where it told us, at whichever replica; nobody where the session has
    /// ended or become another user's.
    fn as_now<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<Option<Person>, Unclear>>;

    /// As whom the back-end of this name knows the person, if a route leads them there.
    fn known_as(&self, person: &Person, backend: &str) -> Option<KnownAs>;

    /// Signs the session out everywhere.
    fn sign_out(&self, session: &SessionHandle);
}

/// A person in a back-end's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAs {
    /// Their name there.
    pub login: String,
    /// Their roles as it calls them.
    pub roles: Vec<String>,
}

impl Reply {
    /// An answer in JSON.
    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    /// Sends the browser on, by `GET`.
    #[must_use]
    pub fn see_other(location: String) -> Self {
        Self { status: 303, headers: vec![("location", location)], body: String::new() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}
