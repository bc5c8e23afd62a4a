//! The service that the site's function calls to learn whether a ticket is good.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;

use super::message;
use super::tickets::{Shown, Tickets};
use crate::domain::{Answered, ApiKey, Call, Desk, Reach, Reply, Service};

/// Where the caller's key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyPlace {
    /// In a header of this name, in lower case.
    Header(String),
    /// In `Authorization: Basic`, as the password of whatever user.
    Basic,
    /// In the path, as its last segment.
    Path,
}

/// `AuthorizeSession`.
pub(super) struct Authorize {
    /// `service_path`.
    pub path: String,
    /// `service_key`.
    pub key: ApiKey,
    /// `service_key_in`.
    pub key_in: KeyPlace,
    pub tickets: Tickets,
}

impl Service for Authorize {
    fn takes(&self, reach: Reach, _method: &str, path: &str) -> bool {
        reach == Reach::Servers && self.key_in_path(path).is_some()
    }

    fn answer<'a>(&'a self, call: &'a Call<'a>, _desk: &'a dyn Desk) -> BoxFuture<'a, Answered> {
        Box::pin(self.reply(call))
    }
}

impl Authorize {
    async fn reply(&self, call: &Call<'_>) -> Answered {
        let reads = matches!(call.method, "GET" | "HEAD") && call.query.eq_ignore_ascii_case("wsdl");
        // The description says nothing that is not published, and tools that read it cannot be given
        // a key; but with the key in the path it would say the key.
        if !(self.knows(call) || reads && self.key_in != KeyPlace::Path) {
            return Answered::Elsewhere(self.stranger());
        }
        if reads {
            return Answered::Here(message::wsdl(&format!("{}{}", call.origin, call.path)));
        }
        if call.method != "POST" {
            let reply = Reply { status: 405, ..Reply::default() };
            return Answered::Here(reply.header("allow", "GET, HEAD, POST".to_owned()));
        }
        let (spelling, question) = message::read(call.body);
        let question = match question {
            Ok(question) => question,
            Err(malformed) => {
                tracing::warn!(path = self.path, %malformed, "a question about a ticket was not understood");
                return Answered::Here(message::fault(spelling, malformed));
            }
        };
        match self.tickets.redeem(&question.login, &question.password).await {
            Ok(Shown::Valid(roles)) => Answered::Here(message::answer(spelling, Some(&roles))),
            Ok(Shown::ForAnother) => {
                tracing::warn!(path = self.path, "a ticket was shown for another login than its own");
                Answered::Here(message::answer(spelling, None))
            }
            // It may be one of another site that asks under the same path.
            Ok(Shown::Unknown) => Answered::Elsewhere(message::answer(spelling, None)),
            Err(outage) => Answered::Here(message::unavailable(spelling, outage.retry_after())),
        }
    }

    /// What follows the service's own path, where that is not nothing but a key.
    fn key_in_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.path)?;
        match self.key_in {
            KeyPlace::Path => rest.strip_prefix('/').or_else(|| rest.is_empty().then_some("")),
            _ => rest.is_empty().then_some(""),
        }
    }

    fn knows(&self, call: &Call<'_>) -> bool {
        let decoded;
        let shown = match &self.key_in {
            KeyPlace::Header(name) => call.browser.header(name),
            KeyPlace::Path => self.key_in_path(call.path),
            KeyPlace::Basic => {
                decoded = call.browser.header("authorization").and_then(basic_password);
                decoded.as_deref()
            }
        };
        shown.is_some_and(|shown| ApiKey::find(std::slice::from_ref(&self.key), shown).is_some())
    }

    fn stranger(&self) -> Reply {
        let reply = Reply { status: 401, ..Reply::default() };
        match self.key_in {
            KeyPlace::Basic => reply.header("www-authenticate", "Basic realm=\"keyward\"".to_owned()),
            _ => reply,
        }
    }
}

fn basic_password(value: &str) -> Option<String> {
    let (scheme, coded) = value.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(coded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}
