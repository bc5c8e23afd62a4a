/// What is answered to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ruling {
    /// It may go to the back-end.
    Allow,
    /// The browser must go elsewhere first.
    Redirect,
    /// Somebody must sign in, and this is no page that could be redirected.
    SignIn,
    /// No.
    Deny,
    /// Nobody can tell at the moment.
    Unavailable,
}

/// Why a request was answered as it was: metric label, log field and test assertion at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the contract's own words, told apart in `Reason::text`")]
pub enum Reason {
    Ok,
    Public,
    NoSession,
    Expired,
    Forged,
    Revoked,
    Role,
    NoRoute,
    AmbiguousPath,
    BadRequest,
    UntrustedPeer,
    CredentialsRefused,
    NoCredentials,
    BackendUnavailable,
    PortalUnavailable,
    Busy,
    AnswerTooLarge,
}

impl Ruling {
    /// Every ruling.
    pub const ALL: [Self; 5] = [Self::Allow, Self::Redirect, Self::SignIn, Self::Deny, Self::Unavailable];

    /// The word for it in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Redirect => "redirect",
            Self::SignIn => "sign_in",
            Self::Deny => "deny",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Public,
        Self::NoSession,
        Self::Expired,
        Self::Forged,
        Self::Revoked,
        Self::Role,
        Self::NoRoute,
        Self::AmbiguousPath,
        Self::BadRequest,
        Self::UntrustedPeer,
        Self::CredentialsRefused,
        Self::NoCredentials,
        Self::BackendUnavailable,
        Self::PortalUnavailable,
        Self::Busy,
        Self::AnswerTooLarge,
    ];

    /// The word for it in metrics, logs and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Public => "public",
            Self::NoSession => "no_session",
            Self::Expired => "expired",
            Self::Forged => "forged",
            Self::Revoked => "revoked",
            Self::Role => "role",
            Self::NoRoute => "no_route",
            Self::AmbiguousPath => "ambiguous_path",
            Self::BadRequest => "bad_request",
            Self::UntrustedPeer => "untrusted_peer",
            Self::CredentialsRefused => "credentials_refused",
            Self::NoCredentials => "no_credentials",
            Self::BackendUnavailable => "backend_unavailable",
            Self::PortalUnavailable => "portal_unavailable",
            Self::Busy => "busy",
            Self::AnswerTooLarge => "answer_too_large",
        }
    }

    /// The reason in a sentence for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "signed in",
            Self::Public => "open to everybody",
            Self::NoSession => "nobody is signed in",
            Self::Expired => "the portal session has expired",
            Self::Forged => "the portal's ticket is not genuine",
            Self::Revoked => "the portal session was ended",
            Self::Role => "the user has none of the roles that are needed",
            Self::NoRoute => "no route leads there",
            Self::AmbiguousPath => "the path can be read in more than one way",
            Self::BadRequest => "the request was not understood",
            Self::UntrustedPeer => "the caller is not a trusted proxy",
            Self::CredentialsRefused => "the application refused the user's password",
            Self::NoCredentials => "the portal gave no password, and the application wants one",
            Self::BackendUnavailable => "the application cannot be reached",
            Self::PortalUnavailable => "the portal cannot be reached",
            Self::Busy => "too many people are signing in at the moment",
            Self::AnswerTooLarge => "the cookies and keys do not fit into the web server's buffers",
        }
    }

    /// The rulings that may come with this reason; no others are ever counted.
    #[must_use]
    pub const fn rulings(self) -> &'static [Ruling] {
        match self {
            // Somebody who may pass, at an address that lacks the application's key.
            Self::Ok => &[Ruling::Allow, Ruling::Redirect],
            Self::Public => &[Ruling::Allow],
            Self::NoSession | Self::Expired | Self::Forged | Self::Revoked => &[Ruling::Redirect, Ruling::SignIn],
            Self::Role
            | Self::NoRoute
            | Self::AmbiguousPath
            | Self::BadRequest
            | Self::UntrustedPeer
            | Self::CredentialsRefused
            | Self::NoCredentials => &[Ruling::Deny],
            Self::BackendUnavailable | Self::PortalUnavailable | Self::Busy | Self::AnswerTooLarge => {
                &[Ruling::Unavailable]
            }
        }
    }
}
