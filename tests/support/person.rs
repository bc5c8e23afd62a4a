//! Somebody who signed in at a portal, for a login that is made without one.

use std::sync::Arc;

use keyward::domain::{Identity, Person, SessionHandle};

pub fn signed_in(user: &str) -> Arc<Person> {
    Arc::new(Person {
        session: SessionHandle { portal: "portal".to_owned(), id: format!("session-of-{user}") },
        identity: Identity::new(user, "", "", Vec::new()).unwrap().into_owned(),
        expires: u64::MAX,
    })
}
