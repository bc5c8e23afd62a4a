use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{AccountRefusal, Outage, Secret};

/// A portal whose people's passwords can be changed from here, as at a directory.
///
/// The contract is that of an application's accounts: a refusal is a value, an outage is an error; after an outage
/// it may be done all the same, so a change may be made twice; a method may be dropped at any await; nothing that is
/// returned or logged holds a password.
pub trait PasswordKeeper: Send + Sync {
    /// The portal's name.
    fn portal(&self) -> &str;

    /// Other portals, by name, whose people are the same and have the same names.
    fn people_of(&self) -> &[String];

    /// Whether the people of this portal are those whose passwords are kept here.
    fn is_for(&self, portal: &str) -> bool {
        self.portal() == portal || self.people_of().iter().any(|other| other == portal)
    }

    /// Longest time for one change.
    fn patience(&self) -> Duration;

    /// Gives somebody another password. When it is done, nothing opens any more with the old one here: neither
    /// sessions that began with it, nor what is remembered of it.
    fn change<'a>(
        &'a self,
        user: &'a str,
        new: &'a Secret,
    ) -> BoxFuture<'a, Result<Result<(), AccountRefusal>, Outage>>;
}
