//! A portal for tests that says what it is told to say, at once or only when it is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::login_page::LoginPage;
use super::login_url::LoginUrl;
use super::role_map::RoleMap;
use super::{
    HeldSession, NoPassword, Portal, PortalPlan, PortalSession, Scratch, Shown, SignedSession, Verdict, Verifier,
};
use crate::domain::{Identity, Reason, Secret, UnixSeconds};
use crate::observe::Metrics;

/// When a session of it ends.
pub const EXPIRES: UnixSeconds = 2000;

/// What it says of a cookie's value, or of an `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It is the session of this user, with this role. The value is the session's id as well.
    Genuine(&'static str, &'static str),
    /// Nobody's.
    Rejected(Reason),
    /// Who knows.
    Unreachable,
}

/// See above.
#[derive(Default)]
pub struct Scripted {
    /// The name of its cookie.
    pub cookie: &'static str,
    /// What it says of each value; of others that they are forged.
    pub answers: HashMap<&'static str, Says>,
    /// Whether it has to ask first.
    pub asks: bool,
    /// How often it did.
    pub asked: Arc<AtomicUsize>,
    /// What it asks of programs.
    pub challenge: Option<&'static str>,
}

impl Scripted {
    /// Takes it into use under this name, with these words for roles.
    pub fn build(self, name: &str, roles: &[(&str, &str)]) -> Arc<Portal> {
        let login_url = LoginUrl::parse(&format!("https://{name}.test/?next={{url}}")).unwrap();
        let plan = PortalPlan {
            name: name.to_owned(),
            login_page: LoginPage::Elsewhere(login_url),
            roles: RoleMap::new(roles.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()),
            verifier: Box::new(self),
            kept: None,
        };
        plan.build(&Metrics::new())
    }

    /// A good cookie counts before the header.
    fn judge(&self, shown: &Shown<'_>) -> Verdict<'static> {
        let cookies = shown.values.iter().map(|value| (*value, self.answers.get(value)));
        let said = cookies.chain(shown.authorization.map(|value| (value, self.answers.get(value))));
        let mut verdict = Verdict::Rejected(Reason::NoSession);
        for (value, says) in said {
            match says.copied().unwrap_or(Says::Rejected(Reason::Forged)) {
                Says::Genuine(user, role) => {
                    let identity = Identity::new(user, "", "", vec![role.into()]).unwrap();
                    let held = Arc::new(HeldSession::new(identity, EXPIRES, None));
                    return Verdict::Genuine(PortalSession::held(value.to_owned(), &held).into_owned());
                }
                Says::Rejected(reason) => verdict = Verdict::Rejected(reason),
                Says::Unreachable => return Verdict::Unreachable { retry_after: Duration::from_secs(17) },
            }
        }
        verdict
    }
}

impl Verifier for Scripted {
    fn cookie(&self) -> &str {
        self.cookie
    }

    fn verify<'a>(&'a self, shown: &Shown<'a>, _: UnixSeconds, _: &'a mut Scratch) -> Verdict<'a> {
        let shows_nothing = shown.values.is_empty() && shown.authorization.is_none();
        if self.asks && !shows_nothing { Verdict::Unasked } else { self.judge(shown) }
    }

    fn ask<'a>(&'a self, shown: &Shown<'_>, _: UnixSeconds) -> BoxFuture<'a, Verdict<'static>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let verdict = self.judge(shown);
        async { verdict }.boxed()
    }

    fn challenge(&self) -> Option<&str> {
        self.challenge
    }

    fn signed(&self, _: &[&str]) -> Vec<SignedSession> {
        Vec::new()
    }

    fn password(&self, _: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        Err(NoPassword::Absent)
    }
}
