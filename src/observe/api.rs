/// A call of the portal's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of `as_str`, described in `openapi.json`")]
pub enum ApiCall {
    PutSession,
    DeleteSession,
    GetKeys,
    TouchSession,
    PutPassword,
    PutAccount,
    DeleteAccount,
    GetDescription,
    /// None that there is.
    Unknown,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiOutcome {
    /// It was done.
    Done,
    /// It was understood, and the answer is no.
    Refused,
    /// It was not understood.
    Malformed,
    /// Nobody that we know called.
    Unauthorized,
    /// It could not be done now.
    Unavailable,
}

impl ApiCall {
    /// Every call.
    pub const ALL: [Self; 9] = [
        Self::PutSession,
        Self::DeleteSession,
        Self::GetKeys,
        Self::TouchSession,
        Self::PutPassword,
        Self::PutAccount,
        Self::DeleteAccount,
        Self::GetDescription,
        Self::Unknown,
    ];

    /// The word for it in metrics, logs and the description.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PutSession => "put_session",
            Self::DeleteSession => "delete_session",
            Self::GetKeys => "get_keys",
            Self::TouchSession => "touch_session",
            Self::PutPassword => "put_password",
            Self::PutAccount => "put_account",
            Self::DeleteAccount => "delete_account",
            Self::GetDescription => "get_description",
            Self::Unknown => "unknown",
        }
    }
}

impl ApiOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Done, Self::Refused, Self::Malformed, Self::Unauthorized, Self::Unavailable];

    /// The word for it in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
        }
    }
}
