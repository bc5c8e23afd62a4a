/// Lists all that can be said, each with the key under which it stands in a file of messages.
macro_rules! messages {
    ($($name:ident = $key:literal,)*) => {
        /// Something that a page says. Its words stand in `messages/`, under the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the English words say it")]
        pub enum Message { $($name,)* }

        impl Message {
            /// Every message.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its key in a file of messages.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }
        }
    };
}

messages! {
    SignIn = "sign_in",
    UserName = "user_name",
    Password = "password",
    WrongPassword = "wrong_password",
    FormTooOld = "form_too_old",
    WaitSeconds = "wait_seconds",
    WaitMinutes = "wait_minutes",
    DirectoryDown = "directory_down",
    SignedIn = "signed_in",
    SignedInAs = "signed_in_as",
    GoOn = "go_on",
    NoSignInHere = "no_sign_in_here",
    NeedsHttps = "needs_https",
    SignedOut = "signed_out",
    SignedOutAdvice = "signed_out_advice",
    FormNotSentAdvice = "form_not_sent_advice",
    FormNotSentLink = "form_not_sent_link",
    SignOut = "sign_out",
    SignOutQuestion = "sign_out_question",
    SignOutAdvice = "sign_out_advice",
    Reason = "reason",
    Denied = "denied",
    DeniedAdvice = "denied_advice",
    RoleAdvice = "role_advice",
    PasswordRefused = "password_refused",
    PasswordRefusedAdvice = "password_refused_advice",
    NoPassword = "no_password",
    NoPasswordAdvice = "no_password_advice",
    OneMoment = "one_moment",
    ApplicationDown = "application_down",
    PortalDown = "portal_down",
    Busy = "busy",
    TooLarge = "too_large",
    TooLargeAdvice = "too_large_advice",
    NothingHere = "nothing_here",
    NothingHereAdvice = "nothing_here_advice",
    OnceMore = "once_more",
    OnceMoreAdvice = "once_more_advice",
    OnceMoreLink = "once_more_link",
    LinkWorthless = "link_worthless",
    LinkWorthlessAdvice = "link_worthless_advice",
    LinkMissing = "link_missing",
    LinkMissingAdvice = "link_missing_advice",
    LinkLaterAdvice = "link_later_advice",
    ChangeAccount = "change_account",
    ChangeAccountAdvice = "change_account_advice",
    StayAs = "stay_as",
    GoOnAs = "go_on_as",
    SignInOver = "sign_in_over",
    SignInOverAdvice = "sign_in_over_advice",
    NotSignedIn = "not_signed_in",
    SignInCancelledAdvice = "sign_in_cancelled_advice",
    SignInUntrustedAdvice = "sign_in_untrusted_advice",
    NotEnough = "not_enough",
    NotEnoughAdvice = "not_enough_advice",
    AddressWrong = "address_wrong",
    AddressWrongAdvice = "address_wrong_advice",
    SignInDownAdvice = "sign_in_down_advice",
}
