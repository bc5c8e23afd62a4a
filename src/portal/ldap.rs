//! The kind `ldap`: people sign in here with the name and password that a directory knows.

#[expect(dead_code, reason = "nobody asks it yet")]
mod directory;
