//! Logins: so many at once, each within its time, counted and told.

use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::SemaphorePermit;

use super::{Guarded, place, within};
use crate::backend::{Attempt, Login, Outage};

impl Guarded {
    /// Signs the person in, waiting for a place in order of arrival.
    ///
    /// # Errors
    /// [`Outage`]; [`Outage::BackingOff`] at once while the back-end is left alone.
    pub async fn login(&self, attempt: &Attempt) -> Result<Login, Outage> {
        if self.backend.foresees(attempt).is_some() {
            return self.login_at(&LoginPlace { _permit: None }, attempt).await;
        }
        if let Some(retry_after) = self.backoff.pause() {
            return Err(Outage::BackingOff { retry_after });
        }
        let place = self.login_place().await;
        self.login_at(&place, attempt).await
    }

    /// A place for a login, in order of arrival, for whoever has more to do before the login than to wait for it.
    pub async fn login_place(&self) -> LoginPlace<'_> {
        LoginPlace { _permit: place(&self.logins).await }
    }

    /// The same where one is free.
    pub fn free_login_place(&self) -> Option<LoginPlace<'_>> {
        self.logins.try_acquire().ok().map(|permit| LoginPlace { _permit: Some(permit) })
    }

    /// Whether a login would ask the back-end at all, so that it needs a place.
    pub fn would_ask(&self, attempt: &Attempt) -> bool {
        self.backoff.pause().is_none() && self.backend.foresees(attempt).is_none()
    }

    /// Signs the person in, at a place that was got before.
    ///
    /// # Errors
    /// As with [`Guarded::login`].
    pub async fn login_at(&self, _place: &LoginPlace<'_>, attempt: &Attempt) -> Result<Login, Outage> {
        if let Some(refusal) = self.backend.foresees(attempt) {
            let outcome = Ok(Login::Refused(refusal));
            self.report(&attempt.login, &outcome, Duration::ZERO);
            return outcome;
        }
        // It may have failed while we queued.
        let leave = self.backoff.enter().map_err(|retry_after| Outage::BackingOff { retry_after })?;
        let _flight = InFlight::new(&self.metrics.logins_in_flight);
        let start = self.clock.now();
        let outcome = within(self.limits().login_timeout, self.backend.login(attempt)).await;
        let took = self.clock.now().since(start);
        self.metrics.login_seconds.observe(took.as_secs_f64());
        match &outcome {
            Ok(_) | Err(Outage::Locked { .. }) => leave.answered(),
            Err(Outage::Throttled { retry_after }) => leave.failed(*retry_after),
            Err(Outage::Protocol(_)) => leave.puzzled(&attempt.login),
            Err(_) => leave.failed(None),
        }
        self.metrics.up.set(i64::from(self.backoff.pause().is_none()));
        self.report(&attempt.login, &outcome, took);
        outcome
    }

    /// Whether every place for a login is taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.logins.available_permits() == 0
    }

    /// Counts a login and writes its one line.
    fn report(&self, login: &str, outcome: &Result<Login, Outage>, took: Duration) {
        let metrics = &self.metrics;
        let (backend, milliseconds) = (self.name(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        match outcome {
            Ok(Login::Opened(_)) => {
                metrics.login_opened.inc();
                tracing::info!(backend, login, milliseconds, "signed in at the back-end");
            }
            Ok(Login::Refused(refusal)) => {
                metrics.login_refused.inc();
                tracing::warn!(backend, login, milliseconds, %refusal, "login refused by the back-end");
            }
            Err(outage) => {
                let counter = match outage {
                    Outage::TimedOut => &metrics.login_timed_out,
                    Outage::Throttled { .. } | Outage::Locked { .. } => &metrics.login_throttled,
                    Outage::Protocol(_) => &metrics.login_protocol,
                    Outage::Unreachable(_) | Outage::BackingOff { .. } => &metrics.login_unreachable,
                };
                counter.inc();
                tracing::warn!(backend, login, milliseconds, %outage, "could not sign in at the back-end");
            }
        }
    }
}

/// A place for a login, given back when dropped.
pub struct LoginPlace<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

/// Counts something under way for as long as it lives, however it ends.
struct InFlight<'a>(&'a IntGauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
