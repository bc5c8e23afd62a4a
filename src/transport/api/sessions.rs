//! Calls about sessions: a portal tells of them, ends them, keeps them alive and asks for their keys.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_util::FutureExt;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value, json};

use super::call::{Answer, Asked, Call};
use crate::domain::{ExposeSecret, Identity, IdentityError, Reason, Secret, SessionKeys, UnixSeconds, is_control};
use crate::handover::{
    BrowserBehind, NotKept, NotOpened, NotRegistered, Opened, PortalSide, Registered, SignOutBy, SignOutRequest,
};
use crate::observe::ApiCall;
use crate::transport::problem::Problem;
use crate::transport::question;

pub(super) const CALLS: &[Call] = &[
    Call { kind: ApiCall::PutSession, method: Method::PUT, path: "/v1/sessions/{sid}", answer: put },
    Call { kind: ApiCall::DeleteSession, method: Method::DELETE, path: "/v1/sessions/{sid}", answer: delete },
    Call { kind: ApiCall::GetKeys, method: Method::GET, path: "/v1/sessions/{sid}/keys/{backend}", answer: keys },
    Call { kind: ApiCall::TouchSession, method: Method::POST, path: "/v1/sessions/{sid}/touch", answer: touch },
];

/// Longest password, in bytes: about what a ticket can carry.
pub(super) const LONGEST_PASSWORD: usize = 4096;

/// The browser's `User-Agent`, since the caller has one of its own.
static USER_AGENT: HeaderName = HeaderName::from_static("x-keyward-user-agent");
/// The browser's address.
static ADDRESS: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The ticket that vouches for a session which only the browser knows.
static TICKET: HeaderName = HeaderName::from_static("x-keyward-ticket");

pub(super) const fn unprocessable(title: &'static str, detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, title, detail)
}

const SID: Problem =
    unprocessable("no session id", "sid must have 16 to 128 characters, none of them a control character");
const NO_COOKIE: Problem = unprocessable(
    "no session id",
    "sid must be what the browser sends as the portal's cookie: visible ASCII characters without a semicolon",
);
const FIELDS: Problem = unprocessable(
    "not the fields of a session",
    "user and expires (whole Unix seconds) must be there; name, email, roles and password may be; \
     every field is there once, and none is null",
);
const PASSWORD: Problem =
    unprocessable("no usable password", "it has 1 to 4096 bytes; leave it out where there is none");
const NO_BODY: Problem = Problem::new(StatusCode::BAD_REQUEST, "a body that nobody reads", "this call takes none");
const NO_PORTAL: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "a key without a portal",
    "nothing says which portal it is for; write portal = in its [[api.key]]",
);
const NOT_HERE: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "this portal registers no sessions",
    "only portals of kind registered tell of their sessions so",
);
const SIGNED_OUT: Problem = Problem::new(
    StatusCode::CONFLICT,
    "the session was signed out",
    "nothing revives it; give the next session another id",
);
const PAST: Problem = unprocessable("the session has ended", "expires must lie in the future");
const NO_BACKEND: Problem = Problem::new(
    StatusCode::NOT_FOUND,
    "no such back-end",
    "no route leads from this portal to a back-end of this name",
);
const NO_BROWSER: Problem = unprocessable(
    "too little is known of the browser",
    "the application ties sessions to it: send its address as X-Forwarded-For, its User-Agent as \
     X-Keyward-User-Agent, and its Accept-Language",
);
const NO_ROOM: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "no room for the session",
    "as many sessions are kept as [limits] sessions allows",
);
/// When it is worth asking for room again: sessions end by themselves.
const ROOM_AFTER: Duration = Duration::from_secs(60);
/// When it is worth asking the store again.
const STORE_AFTER: Duration = Duration::from_secs(5);
const NO_ADDRESS: Problem =
    unprocessable("no address", "X-Forwarded-For must be the browser's address, and nothing else");
const NO_TICKET: Problem = unprocessable(
    "nobody vouches for the session",
    "this portal does not register its sessions: send the ticket as X-Keyward-Ticket",
);

/// What a portal tells of a session, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    user: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default, deserialize_with = "password")]
    password: Option<Secret>,
    #[serde(deserialize_with = "whole_number")]
    expires: UnixSeconds,
}

/// Read as a text and not as an option, so that `null` is what it is: the wrong type.
pub(super) fn password<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    String::deserialize(deserializer).map(|password| Some(Secret::from(password)))
}

/// Also one that is written `1764000000.0`: to JSON Schema, and to languages that know one kind of number
/// only, it is the same.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let written = number.as_u64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok());
    written.ok_or_else(|| D::Error::custom("no whole number"))
}

impl Asked<'_> {
    /// The side of the portal whose server calls.
    pub(super) fn portal(&self) -> Result<PortalSide<'_>, Problem> {
        self.live.self_service.portal_side(self.key.portal()).ok_or(NO_PORTAL)
    }

    fn sid(&self) -> Result<Cow<'_, str>, Problem> {
        let sid = self.segment(0)?;
        let fits = (16..=128).contains(&sid.chars().count()) && !sid.chars().any(is_control);
        if fits { Ok(sid) } else { Err(SID) }
    }

    pub(super) fn without_body(&self) -> Result<(), Problem> {
        if self.body.is_empty() { Ok(()) } else { Err(NO_BODY) }
    }

    /// What the portal tells of the browser.
    fn browser(&self) -> Result<BrowserBehind<'_>, Problem> {
        let address = self.header(&ADDRESS)?.map(|value| {
            let text = std::str::from_utf8(value).ok();
            text.and_then(|text| text.trim().parse::<IpAddr>().ok()).ok_or(NO_ADDRESS)
        });
        let caller = self.request.peer_addr().map_or(Ipv4Addr::LOCALHOST.into(), |peer| peer.ip());
        Ok(BrowserBehind {
            address: address.transpose()?.map(|address| address.to_canonical()),
            user_agent: self.header(&USER_AGENT)?,
            accept_language: self.header(&header::ACCEPT_LANGUAGE)?,
            caller: caller.to_canonical(),
        })
    }
}

fn put<'a>(asked: &'a Asked<'a>) -> Answer<'a> {
    let told = async {
        let (portal, sid) = (asked.portal()?, asked.sid()?);
        let told: Told = asked.json(FIELDS)?;
        if told.password.as_ref().is_some_and(|it| !(1..=LONGEST_PASSWORD).contains(&it.expose_secret().len())) {
            return Err(PASSWORD);
        }
        let roles = told.roles.into_iter().map(Cow::Owned).collect();
        let identity = Identity::new(told.user, told.name, told.email, roles)
            .map_err(|error: IdentityError| FIELDS.because(error.to_string()))?;
        let registered = portal.register(&sid, identity, told.expires, told.password).await;
        registered
            .map(|registered| match registered {
                Registered::New => empty(StatusCode::CREATED),
                Registered::Known => empty(StatusCode::NO_CONTENT),
            })
            .map_err(|refusal| match refusal {
                NotRegistered::Past => PAST,
                NotRegistered::SignedOut => SIGNED_OUT,
                NotRegistered::NotKept(NotKept::NotHere) => NOT_HERE,
                NotRegistered::NotKept(NotKept::NoCookie) => NO_COOKIE,
                NotRegistered::NotKept(why @ NotKept::Comma) => FIELDS.because(why.to_string()),
                NotRegistered::NotKept(NotKept::NoRoom(_)) => NO_ROOM.again_after(ROOM_AFTER),
                NotRegistered::NotKept(NotKept::Outage) => Problem::unavailable(Reason::PortalUnavailable, STORE_AFTER),
            })
    };
    told.boxed_local()
}

fn delete<'a>(asked: &'a Asked<'a>) -> Answer<'a> {
    // The time that a sign-out takes is measured from here.
    let arrival = SignOutRequest::now(SignOutBy::Api, question::request_id(asked.request.headers()));
    let end = async move {
        asked.without_body()?;
        let ended = asked.portal()?.sign_out(&asked.sid()?, &arrival).await;
        ended.map_err(|unknown| Problem::unavailable(Reason::PortalUnavailable, unknown.retry_after))?;
        Ok(empty(StatusCode::NO_CONTENT))
    };
    end.boxed_local()
}

fn touch<'a>(asked: &'a Asked<'a>) -> Answer<'a> {
    let touch = async {
        asked.without_body()?;
        let sessions = asked.portal()?.touch(&asked.sid()?).await.map_err(problem)?;
        Ok(in_json(StatusCode::OK, &json!({ "sessions": sessions })))
    };
    touch.boxed_local()
}

fn keys<'a>(asked: &'a Asked<'a>) -> Answer<'a> {
    let keys = async {
        asked.without_body()?;
        let (portal, sid, backend) = (asked.portal()?, asked.sid()?, asked.segment(1)?);
        let ticket = asked.header(&TICKET)?;
        if ticket.is_none() && !portal.registers() {
            return Err(NO_TICKET);
        }
        // One that is no text is no ticket.
        let ticket = ticket.map(|ticket| std::str::from_utf8(ticket).unwrap_or_default());
        let opened = portal.open(&sid, ticket, &backend, &asked.browser()?).await.map_err(problem)?;
        Ok(in_json(StatusCode::OK, &written(&opened)))
    };
    keys.boxed_local()
}

/// Why nothing is opened, in HTTP's terms.
fn problem(why: NotOpened) -> Problem {
    match why {
        NotOpened::NoSession(reason) => Problem::refused(StatusCode::NOT_FOUND, reason),
        NotOpened::Denied(reason) => Problem::refused(StatusCode::FORBIDDEN, reason),
        NotOpened::Unavailable { reason, retry_after } => Problem::unavailable(reason, retry_after),
        NotOpened::NoBackend => NO_BACKEND,
        NotOpened::NoBrowser => NO_BROWSER,
    }
}

/// Keys as they are handed out; what there is none of is left out.
fn written(opened: &Opened) -> Value {
    let keys: &SessionKeys = &opened.keys;
    let pair = |(name, value)| json!({ "name": name, "value": value });
    let cookies = keys.cookies().split("; ").filter_map(|cookie| cookie.split_once('='));
    let mut written = json!({
        "cookies": cookies.map(pair).collect::<Vec<_>>(),
        "host": opened.host,
        "entry": opened.entry,
        "expires": opened.expires,
        "idle_timeout": opened.idle_timeout.as_secs(),
    });
    if let Some(query) = keys.query().split_once('=') {
        written["query"] = pair(query);
    }
    if !keys.authorization().is_empty() {
        written["authorization"] = keys.authorization().into();
    }
    written
}

fn empty(status: StatusCode) -> HttpResponse {
    not_stored(status).finish()
}

pub(super) fn in_json(status: StatusCode, body: &Value) -> HttpResponse {
    not_stored(status).content_type("application/json").body(body.to_string())
}

fn not_stored(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
}
