//! The kind `ldap`: people sign in here with the name and password that a directory knows.

mod directory;

pub use directory::{Changed, Directory, Member, Refusal};
