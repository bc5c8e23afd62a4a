//! What must be known of a session later: its id, whose it is, and the browser it was opened for.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

use super::login::Opened;
use crate::domain::{Client, SessionKeys};
use crate::wire::form_encoded;

/// What stands for itself in a memo. Of a usual header all of it does; bytes that are no ASCII take the
/// place of three.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
/// Most bytes that both headers may take, encoded. All else fits into what a memo has beside it (2 KiB
/// in all). The longest header of a real browser has some 300 bytes.
const MOST_ROOM: usize = 1536;

/// A memo, one value a line.
pub(super) struct Memo {
    pub opened: Opened,
    pub client: Client<'static>,
}

/// Whether a memo can hold what this browser says of itself.
pub(super) fn has_room_for(client: &Client<'_>) -> bool {
    encoded(&client.user_agent).len() + encoded(&client.accept_language).len() <= MOST_ROOM
}

fn encoded(header: &[u8]) -> String {
    percent_encode(header, ESCAPED).to_string()
}

fn decoded(text: &str) -> Cow<'static, [u8]> {
    Cow::Owned(percent_decode_str(text).collect())
}

impl Memo {
    /// The memo of these keys; `None` where it is none of ours.
    pub(super) fn of(keys: &SessionKeys) -> Option<Self> {
        let mut lines = keys.memo().split('\n');
        let mut next = || lines.next();
        let opened = Opened {
            session: next()?.to_owned(),
            user_id: next()?.to_owned(),
            context_id: next()?.to_owned(),
            locale: next()?.to_owned(),
        };
        let address = next()?.parse().ok()?;
        let client = Client { address, user_agent: decoded(next()?), accept_language: decoded(next()?) };
        (!opened.session.is_empty()).then_some(Self { opened, client })
    }

    /// The session as the user interface takes it from its address (documented for `formlogin`, and read
    /// in the user interface's source). Without `user`, which would leave the name in the history.
    pub(super) fn fragment(&self) -> String {
        let Opened { session, user_id, context_id, locale } = &self.opened;
        let fields = [
            ("session", session),
            ("user_id", user_id),
            ("context_id", context_id),
            ("language", locale),
            ("locale", locale),
        ];
        let known: Vec<(&str, &str)> =
            fields.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (*name, value.as_str())).collect();
        form_encoded(&known)
    }
}

impl fmt::Display for Memo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opened: Opened { session, user_id, context_id, locale }, client } = self;
        let (user_agent, accept_language) = (encoded(&client.user_agent), encoded(&client.accept_language));
        let address = client.address;
        write!(formatter, "{session}\n{user_id}\n{context_id}\n{locale}\n{address}\n{user_agent}\n{accept_language}")
    }
}
