use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::domain::{ExposeSecret, Secret};

/// The one-time tickets that stand in the place of passwords, each for one login at one back-end.
///
/// A ticket lives exactly as long as the [`Ticket`] that was issued, and so no longer than the request
/// that carries it; there are as many as there are logins under way. Only hashes are kept.
#[derive(Default)]
pub(super) struct Tickets {
    held: Mutex<HashMap<Hash, Held>>,
}

type Hash = [u8; 32];

/// Whose a ticket is.
struct Held {
    login: String,
    roles: Vec<String>,
    fate: Arc<OnceLock<Fate>>,
}

/// What became of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was redeemed by whom it is for.
    Redeemed,
    /// It was shown for another login, and is of no more use.
    Misused,
}

/// What somebody is told who shows a ticket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It is genuine, and was. These are the roles.
    Valid(Vec<String>),
    /// It is genuine, was, and names somebody else.
    ForAnother,
    /// It was redeemed, was given up, or never was.
    Unknown,
}

/// A ticket under way. Dropped, it opens nothing any more.
pub(super) struct Ticket<'a> {
    tickets: &'a Tickets,
    hash: Hash,
    secret: Secret,
    fate: Arc<OnceLock<Fate>>,
}

impl fmt::Debug for Ticket<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ticket(…)")
    }
}

impl Tickets {
    /// A ticket for this login, which will be given these roles.
    pub fn issue(&self, login: &str, roles: Vec<String>) -> Ticket<'_> {
        let secret = Secret::from(format!("{:032x}", rand::random::<u128>()));
        let (hash, fate) = (hash(secret.expose_secret()), Arc::default());
        let held = Held { login: login.to_owned(), roles, fate: Arc::clone(&fate) };
        self.held.lock().insert(hash, held);
        Ticket { tickets: self, hash, secret, fate }
    }

    /// Takes a ticket, whatever comes of it: of several who show it at once, one is the first.
    ///
    /// Blanks behind either value are what fields of a fixed length fill up with.
    pub fn redeem(&self, login: &str, shown: &Secret) -> Shown {
        let Some(held) = self.held.lock().remove(&hash(shown.expose_secret().trim_end_matches(' '))) else {
            return Shown::Unknown;
        };
        if held.login != login.trim_end_matches(' ') {
            let _ = held.fate.set(Fate::Misused);
            return Shown::ForAnother;
        }
        let _ = held.fate.set(Fate::Redeemed);
        Shown::Valid(held.roles)
    }

    /// How many could be redeemed now.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.held.lock().len()
    }
}

impl Ticket<'_> {
    /// What is shown.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// What became of it so far.
    pub fn fate(&self) -> Option<Fate> {
        self.fate.get().copied()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.tickets.held.lock().remove(&self.hash);
    }
}

fn hash(ticket: &str) -> Hash {
    Sha256::digest(ticket).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> Vec<String> {
        vec!["SALES".to_owned()]
    }

    #[test]
    fn a_ticket_is_redeemed_once() {
        let tickets = Tickets::default();
        let ticket = tickets.issue("ANA", roles());
        assert_eq!(ticket.fate(), None);
        assert_eq!(tickets.redeem("ANA", ticket.secret()), Shown::Valid(roles()));
        assert_eq!(ticket.fate(), Some(Fate::Redeemed));
        assert_eq!(tickets.redeem("ANA", ticket.secret()), Shown::Unknown);
        assert_eq!(format!("{ticket:?}"), "Ticket(…)");
    }

    #[test]
    fn a_ticket_is_for_one_login_and_shown_for_another_it_is_lost() {
        for other in ["BEN", "ana", " ANA", "ANA\n", "ANA\u{a0}", ""] {
            let tickets = Tickets::default();
            let ticket = tickets.issue("ANA", roles());
            assert_eq!(tickets.redeem(other, ticket.secret()), Shown::ForAnother, "{other:?}");
            assert_eq!(ticket.fate(), Some(Fate::Misused));
            assert_eq!(tickets.redeem("ANA", ticket.secret()), Shown::Unknown);
        }
    }

    #[test]
    fn fields_of_a_fixed_length_are_understood() {
        let tickets = Tickets::default();
        let ticket = tickets.issue("ANA", roles());
        let padded = Secret::from(format!("{:<128}", ticket.secret().expose_secret()));
        assert_eq!(tickets.redeem("ANA       ", &padded), Shown::Valid(roles()));
    }

    #[test]
    fn whoever_waits_no_longer_leaves_no_ticket_behind() {
        let tickets = Tickets::default();
        let ticket = tickets.issue("ANA", roles());
        let secret = ticket.secret().clone();
        assert_eq!(tickets.len(), 1);
        drop(ticket);
        assert_eq!(tickets.len(), 0);
        assert_eq!(tickets.redeem("ANA", &secret), Shown::Unknown);
        assert_eq!(tickets.redeem("ANA", &Secret::from("")), Shown::Unknown);
    }

    #[test]
    fn of_many_at_once_one_is_the_first() {
        let tickets = Tickets::default();
        for _ in 0..50 {
            let ticket = tickets.issue("ANA", roles());
            let outcomes: Vec<Shown> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| tickets.redeem("ANA", ticket.secret()))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(outcomes.iter().filter(|shown| **shown == Shown::Valid(roles())).count(), 1);
            assert_eq!(outcomes.iter().filter(|shown| **shown == Shown::Unknown).count(), 7);
        }
        assert_eq!(tickets.len(), 0);
    }
}
