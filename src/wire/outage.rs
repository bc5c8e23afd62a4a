//! Which kind of outage an error of the HTTP client is.

use std::error::Error;

use crate::domain::Outage;

/// What went wrong, as far as it matters for sending again.
pub(super) enum Failure {
    /// No connection was made, so nothing was sent.
    NoConnection(String),
    /// The connection broke; nobody knows how far the request got.
    Broken(&'static str),
    /// No answer in time.
    TimedOut,
    /// An answer that is no HTTP, or too much of it.
    Protocol(&'static str),
}

impl From<Failure> for Outage {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoConnection(why) => Self::Unreachable(why),
            Failure::Broken(why) => Self::Unreachable(why.to_owned()),
            Failure::TimedOut => Self::TimedOut,
            Failure::Protocol(why) => Self::Protocol(why.to_owned()),
        }
    }
}

/// Judges by the error's kind. Its text is used only where nothing had been sent yet, because the
/// client writes the address, and with it the keys, into the rest.
pub(super) fn judge(error: &reqwest::Error) -> Failure {
    if error.is_connect() {
        if error.is_timeout() {
            return Failure::NoConnection("no connection in time".to_owned());
        }
        let mut innermost: &dyn Error = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        return Failure::NoConnection(innermost.to_string());
    }
    if error.is_timeout() {
        return Failure::TimedOut;
    }
    let mut next: Option<&dyn Error> = error.source();
    while let Some(source) = next {
        if let Some(http) = source.downcast_ref::<hyper::Error>() {
            if http.is_parse() {
                return Failure::Protocol("it is not HTTP, or its headers are too many");
            }
            if http.is_incomplete_message() {
                return Failure::Broken("the connection was closed before the answer was complete");
            }
        }
        next = source.source();
    }
    Failure::Broken("the connection broke")
}
