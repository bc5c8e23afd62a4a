use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;

use super::SelfService;
use crate::domain::{Call, Desk, KnownAs, Person, SessionHandle, Unclear};
use crate::keys::Told;

/// The desk at which one call is answered. What services end there, other replicas are told before the answer goes
/// out.
pub struct Counter<'a> {
    house: &'a SelfService,
    told: Mutex<Vec<Told>>,
}

impl SelfService {
    /// A desk for one call.
    #[must_use]
    pub fn counter(&self) -> Counter<'_> {
        Counter { house: self, told: Mutex::default() }
    }
}

impl Counter<'_> {
    /// Waits until other replicas have been told of what ended here, if they can be.
    pub async fn close(self) {
        join_all(self.told.into_inner().into_iter().map(Told::wait)).await;
    }
}

impl Desk for Counter<'_> {
    fn person<'a>(&'a self, call: &'a Call<'a>) -> BoxFuture<'a, Result<Option<Person>, Unclear>> {
        self.house.person(call)
    }

    fn as_now<'a>(&'a self, person: &'a Person) -> BoxFuture<'a, Result<Option<Person>, Unclear>> {
        self.house.as_now(person)
    }

    fn known_as(&self, person: &Person, backend: &str) -> Option<KnownAs> {
        self.house.known_as(person, backend)
    }

    fn sign_out(&self, session: &SessionHandle) {
        self.told.lock().extend(self.house.end_for_service(session));
    }
}
