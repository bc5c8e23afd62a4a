//! What the result codes of a directory mean (RFC 4511, appendix A; RFC 3062): a "no", a "don't know", and the one
//! "yes" there is.

use super::{Changed, Refusal};
use crate::domain::Outage;

pub(super) const SUCCESS: u32 = 0;
pub(super) const SIZE_LIMIT_EXCEEDED: u32 = 4;
pub(super) const NO_SUCH_OBJECT: u32 = 32;

const PROTOCOL_ERROR: u32 = 2;
const STRONGER_AUTH_REQUIRED: u32 = 8;
const REFERRAL: u32 = 10;
const CONFIDENTIALITY_REQUIRED: u32 = 13;
const CONSTRAINT_VIOLATION: u32 = 19;
const INVALID_DN_SYNTAX: u32 = 34;
const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
const INVALID_CREDENTIALS: u32 = 49;
const INSUFFICIENT_ACCESS: u32 = 50;
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;
const UNWILLING: u32 = 53;

/// Why a server did not answer a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It does not work. It is left alone for a while, and the next one is asked.
    Server(Outage),
    /// It does not answer this question. The next one may.
    Question(Outage),
    /// It may have done what was asked, so that nobody may be asked again.
    Final(Outage),
}

/// What became of a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// It is their password.
    Yes,
    /// It is not, or nobody is there.
    No,
    /// Whatever the password, they are not let in: locked, expired, or not meant to sign in.
    Barred,
}

/// What a bind with a person's name and password says.
pub(super) fn judge_bind(code: u32) -> Result<Bound, Failure> {
    match code {
        SUCCESS => Ok(Bound::Yes),
        // A DN made from a template may be none.
        INVALID_CREDENTIALS | NO_SUCH_OBJECT | INVALID_DN_SYNTAX => Ok(Bound::No),
        CONSTRAINT_VIOLATION | INAPPROPRIATE_AUTHENTICATION | INSUFFICIENT_ACCESS | UNWILLING => Ok(Bound::Barred),
        other => Err(no_answer(other)),
    }
}

/// What a change of a password says.
pub(super) fn judge_change(code: u32) -> Result<Changed, Failure> {
    match code {
        SUCCESS => Ok(Changed::Done),
        NO_SUCH_OBJECT => Ok(Changed::NoSuchPerson),
        INVALID_CREDENTIALS => Ok(Changed::WrongPassword),
        CONSTRAINT_VIOLATION => Ok(Changed::Refused(Refusal::Quality)),
        // RFC 4511, section 4.12: an extended operation that a server does not know.
        PROTOCOL_ERROR => Ok(Changed::Refused(Refusal::NotSupported)),
        INSUFFICIENT_ACCESS | UNWILLING | INAPPROPRIATE_AUTHENTICATION => Ok(Changed::Refused(Refusal::NotAllowed)),
        other => Err(no_answer(other)),
    }
}

/// Everything else is no answer at all. A referral names servers that nobody configured: nobody follows it, least
/// of all with a password in hand.
pub(super) fn no_answer(code: u32) -> Failure {
    let outage = Outage::Protocol(format!("the directory's result is {code}, {}", name(code)));
    match code {
        BUSY | UNAVAILABLE => Failure::Server(outage),
        _ => Failure::Question(outage),
    }
}

/// For logs. The directory's own words are left out: it may repeat what it was sent.
pub(super) const fn name(code: u32) -> &'static str {
    match code {
        1 => "operationsError",
        PROTOCOL_ERROR => "protocolError",
        3 => "timeLimitExceeded",
        SIZE_LIMIT_EXCEEDED => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        STRONGER_AUTH_REQUIRED => "strongerAuthRequired",
        REFERRAL => "referral",
        11 => "adminLimitExceeded",
        CONFIDENTIALITY_REQUIRED => "confidentialityRequired",
        14 => "saslBindInProgress",
        CONSTRAINT_VIOLATION => "constraintViolation",
        NO_SUCH_OBJECT => "noSuchObject",
        INVALID_DN_SYNTAX => "invalidDNSyntax",
        INAPPROPRIATE_AUTHENTICATION => "inappropriateAuthentication",
        INVALID_CREDENTIALS => "invalidCredentials",
        INSUFFICIENT_ACCESS => "insufficientAccessRights",
        BUSY => "busy",
        UNAVAILABLE => "unavailable",
        UNWILLING => "unwillingToPerform",
        80 => "other",
        _ => "a code without a name here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_is_yes_a_few_are_no_and_all_others_say_nothing() {
        for code in (0..300).chain([4096, u32::MAX]) {
            match judge_bind(code) {
                Ok(Bound::Yes) => assert_eq!(code, 0),
                Ok(Bound::No) => assert!([32, 34, 49].contains(&code), "{code}"),
                Ok(Bound::Barred) => assert!([19, 48, 50, 53].contains(&code), "{code}"),
                Err(Failure::Server(_)) => assert!([51, 52].contains(&code), "{code}"),
                Err(Failure::Question(_)) => {}
                Err(Failure::Final(_)) => panic!("{code}"),
            }
            assert_eq!(judge_change(code) == Ok(Changed::Done), code == 0, "{code}");
        }
        assert!(matches!(judge_bind(10), Err(Failure::Question(_))), "a referral is not followed");
    }
}
