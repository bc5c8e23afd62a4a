//! Somebody who signed in at a portal, for a login that is made without one.

use std::sync::Arc;

use keyward::domain::{Identity, Person, SessionHandle};

pub fn signed_in(user: &str) -> Arc<Person> {
    let session = SessionHandle { portal: "portal".to_owned(), id: format!("session-of-{user}") };
    // A login may be blank, or have blanks around it, where an identity cannot.
    let name = Some(user.trim()).filter(|name| !name.is_empty()).unwrap_or("nobody");
    let identity = Identity::new(name.to_owned(), "", "", Vec::new());
    let identity = identity.unwrap_or_else(|error| unreachable!("{user}: {error}"));
    Arc::new(Person { session, identity, expires: u64::MAX })
}
