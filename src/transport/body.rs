use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Payload};

/// Longest wait for a body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoBody {
    /// It broke off.
    Broken,
    /// It is longer than it may be.
    TooLarge,
    /// It did not come in time.
    Slow,
}

impl NoBody {
    /// The status that says so.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Reads a body to its end. The server itself sets a deadline for heads only.
pub(super) async fn read(payload: Payload, longest: usize) -> Result<Bytes, NoBody> {
    match tokio::time::timeout(TIMEOUT, payload.to_bytes_limited(longest)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(_))) => Err(NoBody::Broken),
        Ok(Err(_)) => Err(NoBody::TooLarge),
        Err(_) => Err(NoBody::Slow),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use futures_util::StreamExt;
    use futures_util::stream::{iter, pending};

    use super::*;

    /// A body in pieces, which may never end.
    async fn body(pieces: usize, ends: bool) -> Result<usize, NoBody> {
        let pieces = iter((0..pieces).map(|_| Ok::<_, PayloadError>(Bytes::from_static(&[b'x'; 1024]))));
        let rest = if ends { iter(None).left_stream() } else { pending().right_stream() };
        let payload = actix_web::dev::Payload::from(pieces.chain(rest).boxed_local());
        let request = TestRequest::get().to_http_request();
        let payload = Payload::from_request(&request, &mut { payload }).await.unwrap();
        read(payload, 64 * 1024).await.map(|body| body.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_within_its_size_and_its_time() {
        for (pieces, ends, read) in [
            (0, true, Ok(0)),
            (64, true, Ok(64 * 1024)),
            (65, true, Err(NoBody::TooLarge)),
            (65, false, Err(NoBody::TooLarge)),
            (3, false, Err(NoBody::Slow)),
        ] {
            assert_eq!(body(pieces, ends).await, read, "{pieces} {ends}");
        }
    }
}
