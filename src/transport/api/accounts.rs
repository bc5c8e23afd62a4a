//! Calls about accounts: a portal tells of new passwords, of new people and of people who go.

use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode};
use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

use super::call::{Answer, Asked, Call};
use super::sessions::{LONGEST_PASSWORD, in_json, password, unprocessable};
use crate::accounts::{At, NotBegun, Outcome, Report, Wish};
use crate::domain::{ExposeSecret, Identity, Secret};
use crate::observe::ApiCall;
use crate::transport::problem::Problem;

pub(super) const CALLS: &[Call] = &[
    Call {
        kind: ApiCall::PutPassword,
        method: Method::PUT,
        path: "/v1/accounts/{user}/password",
        answer: put_password,
    },
    Call { kind: ApiCall::PutAccount, method: Method::PUT, path: "/v1/accounts/{user}", answer: put },
    Call { kind: ApiCall::DeleteAccount, method: Method::DELETE, path: "/v1/accounts/{user}", answer: delete },
];

const USER: Problem = unprocessable(
    "no usable user",
    "it has 1 to 512 bytes, no control character and no blank at its ends; so has email in the query, and \
     nothing else stands there",
);
const FIELDS: Problem = unprocessable("not the fields of an account", "only password may be there, once");
const PASSWORD: Problem = unprocessable("no usable password", "it has 1 to 4096 bytes");
const IN_VAIN: Problem = unprocessable("the change would be in vain", "nothing was changed");
const CONFLICT: Problem = Problem::new(StatusCode::CONFLICT, "the change cannot be made", "nothing was changed");
const REFUSED: Problem =
    Problem::new(StatusCode::CONFLICT, "the change was refused", "backends and portals tell what became of it at each");
const FULL: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "too many changes are waiting",
    "nothing was changed; ask again when a back-end answers again",
);
/// When it is worth trying again to be kept waiting.
const FULL_FOR: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    #[serde(default, deserialize_with = "password")]
    password: Option<Secret>,
}

fn put_password<'a>(asked: &'a Asked<'a>) -> Answer<'a> {
    async {
        let told = asked.account()?;
        change(asked, Wish::Password(told.ok_or(PASSWORD)?)).await
    }
    .boxed_local()
}

fn put<'a>(asked: &'a Asked<'a>) -> Answer<'a> {
    async { change(asked, Wish::Put(asked.account()?)).await }.boxed_local()
}

fn delete<'a>(asked: &'a Asked<'a>) -> Answer<'a> {
    async {
        asked.without_body()?;
        change(asked, Wish::Remove).await
    }
    .boxed_local()
}

async fn change(asked: &Asked<'_>, wish: Wish) -> Result<HttpResponse, Problem> {
    let portal = asked.portal()?;
    let user = asked.segment(0)?;
    let identity = Identity::new(user, "", asked.email()?, Vec::new());
    let identity = identity.map_err(|error| USER.because(error.to_string()))?;
    let reports = asked.live.accounts.change(&identity, &wish, portal.name(), portal.backends()).await;
    let reports = reports.map_err(|reason| match reason {
        NotBegun::Full => FULL.again_after(FULL_FOR),
        NotBegun::Nowhere | NotBegun::RemovalPending(_) => CONFLICT.because(reason.to_string()),
        NotBegun::NoName(_) | NotBegun::NoPassword(_) | NotBegun::InVain(..) => IN_VAIN.because(reason.to_string()),
    })?;
    let told = told(&reports);
    if reports.iter().any(|report| matches!(report.outcome, Outcome::Refused(_))) {
        return Err(REFUSED.with_changes(told));
    }
    let pending = reports.iter().any(|report| report.outcome == Outcome::Pending);
    let status = if pending { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(in_json(status, &told))
}

/// All reports by where they are from. Nothing is said of portals where none keeps passwords.
fn told(reports: &[Report]) -> Value {
    let (portals, backends): (Vec<_>, Vec<_>) = reports.iter().partition(|report| matches!(report.at, At::Portal(_)));
    let all = |reports: Vec<&Report>| -> Value { reports.into_iter().map(written).collect() };
    let mut told = json!({ "backends": all(backends) });
    if !portals.is_empty() {
        told["portals"] = all(portals);
    }
    told
}

fn written(report: &Report) -> Value {
    let outcome = report.outcome.as_str();
    let mut written = match &report.at {
        At::Backend(name) => json!({ "backend": name, "outcome": outcome }),
        At::Portal(name) => json!({ "portal": name, "outcome": outcome }),
    };
    if let Outcome::Refused(refusal) = &report.outcome {
        written["detail"] = refusal.to_string().into();
    }
    written
}

impl Asked<'_> {
    /// The password that the body holds, if any.
    fn account(&self) -> Result<Option<Secret>, Problem> {
        let Told { password } = self.json(FIELDS)?;
        let fits = |password: &Secret| (1..=LONGEST_PASSWORD).contains(&password.expose_secret().len());
        if password.as_ref().is_none_or(fits) { Ok(password) } else { Err(PASSWORD) }
    }

    /// The person's e-mail address, for back-ends that name people by it; in the query, since a `DELETE`
    /// has no body.
    fn email(&self) -> Result<String, Problem> {
        let mut fields = url::form_urlencoded::parse(self.request.query_string().as_bytes());
        match (fields.next(), fields.next()) {
            (None, _) => Ok(String::new()),
            (Some((name, email)), None) if name == "email" => Ok(email.into_owned()),
            _ => Err(USER),
        }
    }
}
