use serde::{Deserialize, Serialize};

use crate::domain::UnixSeconds;

/// Something that other replicas must hear of. It travels sealed.
///
/// Replicas of two versions run side by side during an upgrade. A kind that a replica does not know is skipped there,
/// and so is a field; a new field needs a default, and a new meaning needs a new kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Event {
    /// A portal session was ended, and is refused until then.
    SessionEnded {
        /// The portal's name.
        portal: String,
        /// The session's id in the house.
        session: String,
        /// When it would have ended by itself.
        until: UnixSeconds,
        /// When it was asked for, in milliseconds since 1970 by the store's clock; 0 where that is not known, and
        /// then it is when the store was told.
        asked: u64,
    },
    /// What is kept of a portal session has changed or is gone: whoever has it in memory forgets it.
    SessionChanged {
        /// The portal's name.
        portal: String,
        /// The id under which it is kept.
        id: String,
    },
    /// All back-end sessions of an account have ended: a new password, or no account any more. Those opened later
    /// are not meant.
    AccountEnded {
        /// The back-end, as [`crate::store`] has no word for it: the bytes of its id, as a number.
        backend: u64,
        /// The name there.
        login: String,
        /// When, in milliseconds since 1970 by the store's clock; 0 stands for when the store was told.
        at: u64,
        /// Until when sessions opened before may still be somewhere.
        until: UnixSeconds,
    },
    /// The portal's side has ended what it calls so, or will have nobody come with what it gave out before. Whoever
    /// keeps something that was good by a look at what was noted looks again.
    Noted {
        /// The name of the note.
        name: String,
        /// What time is noted.
        time: UnixSeconds,
        /// Until when it is.
        until: UnixSeconds,
    },
    /// What others wait for at a place has been settled: they look again.
    Settled {
        /// The place's name.
        place: [u8; 16],
    },
    /// From now on every change is heard. Of what was read before, nobody may have heard that it has changed since.
    /// Nobody tells this.
    #[serde(skip)]
    Listening,
    /// The store has lost something, or this replica has missed something: whoever holds what ought to be there puts
    /// it back, and does not rely on having heard of every change. Nobody tells this; it is found out, and heard
    /// after all that still stands.
    #[serde(skip)]
    Lost,
}

impl Event {
    /// Until when a replica that starts later must know of it; nothing where it need not.
    #[must_use]
    pub const fn stands_until(&self) -> Option<UnixSeconds> {
        match self {
            Self::SessionEnded { until, .. } | Self::AccountEnded { until, .. } | Self::Noted { until, .. } => {
                Some(*until)
            }
            Self::SessionChanged { .. } | Self::Settled { .. } | Self::Listening | Self::Lost => None,
        }
    }

    /// Notes when it happened, in milliseconds since 1970 by the store's clock, where that is not known yet.
    pub(super) const fn happened_at(&mut self, millis: u64) {
        if let Self::SessionEnded { asked: when, .. } | Self::AccountEnded { at: when, .. } = self
            && *when == 0
        {
            *when = millis;
        }
    }
}
