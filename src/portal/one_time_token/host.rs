//! What is asked of the host, and how its answers are read.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::settings::{BodyNames, Encoding, HostSettings, Source};
use crate::domain::{Clock, ExposeSecret, Outage};
use crate::wire::{Answer, Request, Wire, claims};

/// Longest name of an API session, in bytes.
const LONGEST_API_SID: usize = 256;
/// Longest access token, in bytes.
const LONGEST_ACCESS: usize = 8 * 1024;
/// How far the host's clock may be behind ours, in seconds.
const CLOCK_SKEW: u64 = 60;

pub(super) struct Host {
    settings: HostSettings,
    wire: Wire,
}

/// What the host said of a token.
pub(super) struct Word {
    /// The host's name for its session.
    pub api_sid: String,
    /// What tells who it is.
    pub about: Value,
    /// How long the host's session lasts, in seconds, where it said so.
    pub expires_in: Option<u64>,
}

impl Host {
    pub(super) const fn new(settings: HostSettings, wire: Wire) -> Self {
        Self { settings, wire }
    }

    /// Trades a token. `None`: the host says that it is no good. Whatever is neither a clear yes nor a
    /// clear no is an outage.
    pub(super) async fn verify(&self, token: &str) -> Result<Option<Word>, Outage> {
        let names = &self.settings.names;
        let request = self.post(&self.settings.token_verify_path, &[(names.token.first(), token)]);
        let answer = self.send(&request).await?;
        match answer.status() {
            200 => {}
            400 | 401 | 403 | 404 | 410 | 422 => {
                tracing::info!(status = answer.status(), "the host did not take a one-time token");
                return Ok(None);
            }
            status => return Err(strange(&format!("it answered a token with status {status}"))),
        }
        let json = answer.json().filter(Value::is_object).ok_or_else(|| strange("it answered a token without JSON"))?;
        let fits = |text: &&str, longest| {
            (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let api_sid = names.api_sid.text(&json).filter(|text| fits(text, LONGEST_API_SID));
        let api_sid = api_sid.ok_or_else(|| strange("it named no API session"))?.to_owned();
        let access = names.access.text(&json).filter(|text| fits(text, LONGEST_ACCESS));
        let access = access.ok_or_else(|| strange("it gave no access token"))?.to_owned();
        let expires_in = match names.expires_in.find(&json) {
            None => None,
            Some(value) => {
                let seconds = value.as_u64().filter(|seconds| *seconds > 0);
                Some(seconds.ok_or_else(|| strange("it gave a session that has ended"))?)
            }
        };
        let about = match self.settings.source {
            Source::Answer => json,
            Source::AccessToken => self.read_access_token(&access)?,
            Source::Profile => self.profile(&access).await?,
        };
        Ok(Some(Word { api_sid, about, expires_in }))
    }

    /// What the token says, which came from the host itself, over our own connection to it. Its signature
    /// adds nothing, and is checked where its key is known.
    fn read_access_token(&self, access: &str) -> Result<Value, Outage> {
        let claims = match &self.settings.access {
            Some(key) => key.verify(access),
            None => claims(access),
        };
        let claims = claims.ok_or_else(|| strange("its access token is not one, or not signed as agreed"))?;
        match claims.get("exp") {
            None => Ok(claims),
            Some(exp) if exp.as_u64().is_some_and(|exp| exp + CLOCK_SKEW > self.clock().unix()) => Ok(claims),
            Some(_) => Err(strange("its access token has expired; compare the clocks")),
        }
    }

    async fn profile(&self, access: &str) -> Result<Value, Outage> {
        let request = Request::get(self.settings.profile_path.as_str())
            .header("apikey", self.settings.apikey.expose_secret().as_bytes())
            .header("authorization", format!("Bearer {access}").as_bytes())
            .header("accept", b"application/json");
        let answer = self.send(&request).await?;
        let json = (answer.status() == 200).then(|| answer.json().filter(Value::is_object)).flatten();
        json.ok_or_else(|| {
            strange(&format!("it answered the question for the profile with status {}", answer.status()))
        })
    }

    /// Says that the person is signed in here. False if the host says that its session has ended meanwhile.
    pub(super) async fn acknowledge(&self, api_sid: &str) -> Result<bool, Outage> {
        let names = &self.settings.names;
        let fields = [(names.api_sid.first(), api_sid), (names.status.first(), "success")];
        let answer = self.send(&self.post(&self.settings.acknowledgement_path, &fields)).await?;
        // 404 alone may as well say that there is no such address.
        let says_unknown = || answer.json().is_some_and(|json| json.get("error") == Some(&"unknown_session".into()));
        match answer.status() {
            200..=299 => Ok(true),
            410 => Ok(false),
            404 if says_unknown() => Ok(false),
            status => Err(strange(&format!("it answered an acknowledgement with status {status}"))),
        }
    }

    /// Says that the session has ended. Also well where it had ended before.
    pub(super) async fn log_out(&self, api_sid: &str) -> Result<(), Outage> {
        let fields = [(self.settings.names.api_sid.first(), api_sid)];
        match self.send(&self.post(&self.settings.logout_path, &fields)).await?.status() {
            200..=299 | 404 | 410 => Ok(()),
            status => Err(strange(&format!("it answered a logout with status {status}"))),
        }
    }

    /// The names of members, for what the host sends us.
    pub(super) const fn names(&self) -> &BodyNames {
        &self.settings.names
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        self.wire.clock()
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Request {
        let request = Request::post(path);
        let request = match self.settings.encoding {
            Encoding::Form => request.form(fields),
            Encoding::Json => {
                let members = fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
                request.json(&Value::Object(Map::from_iter(members)))
            }
        };
        request.header("apikey", self.settings.apikey.expose_secret().as_bytes()).header("accept", b"application/json")
    }

    async fn send(&self, request: &Request) -> Result<Answer, Outage> {
        let answer = tokio::time::timeout(self.settings.timeout, self.wire.send(request)).await;
        let answer = answer.unwrap_or(Err(Outage::TimedOut))?;
        answer.outage().map_or(Ok(answer), Err)
    }
}

fn strange(what: &str) -> Outage {
    Outage::Protocol(what.to_owned())
}
