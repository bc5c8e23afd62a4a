use std::net::IpAddr;

use crate::domain::{SessionKeys, UnixSeconds};

/// One back-end session, with all that another replica needs to go on with it. It is sealed whole.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The portal's name.
    pub portal: String,
    /// The portal session's id in the house.
    pub session: String,
    /// When the portal session ends by itself.
    pub expires: UnixSeconds,
    /// The back-end, as its id says.
    pub backend: [u8; 8],
    /// Whose keys these are.
    pub holding: Holding,
    /// The keys.
    pub keys: SessionKeys,
}

/// Whose keys these are: see `keys::entry::Holder`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub user: String,
    /// The name at the back-end.
    pub login: String,
    pub user_agent: Option<Vec<u8>>,
    pub address: Option<IpAddr>,
    pub accept_language: Option<Vec<u8>>,
}
