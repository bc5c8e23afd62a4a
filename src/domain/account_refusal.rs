/// Why somebody who keeps accounts would not make a change, as far as they told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountRefusal {
    /// The name cannot be one there.
    #[error("the name cannot be that of an account there")]
    Name,
    /// The password cannot be sent: it is empty, too long, or holds control characters.
    #[error("the password is empty, too long, or holds control characters")]
    Unsendable,
    /// There is no such account, or it may not be touched.
    #[error("there is no such account, or it may not be changed")]
    NoAccount,
    /// There is no such domain, or it may not be touched.
    #[error("there is no such domain, or it may not be changed")]
    NoDomain,
    /// The application did not take the password, by a rule of its own for example.
    #[error("the password was not accepted")]
    Password,
    /// Another keeper, whose word comes first, has refused the same change.
    #[error("it was left as it is, since the portal's directory refused the change")]
    LeftAlone,
    /// The application said no to something that it understood.
    #[error("the change was not accepted")]
    Change,
}
