//! A session as it is written into the store. All of it is sealed there.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::HeldSession;
use crate::domain::{ExposeSecret, Identity, Moment, Secret, UnixSeconds};

/// Stands in front of every record. What can be left out by those who do not know it needs no other.
const FORMAT: u8 = 1;

/// Times are how long is left of them: a [`Moment`] is of one process alone.
#[derive(Deserialize, Serialize)]
struct Written<'a> {
    user: Cow<'a, str>,
    name: Cow<'a, str>,
    email: Cow<'a, str>,
    roles: Vec<Cow<'a, str>>,
    expires: UnixSeconds,
    password: Option<Cow<'a, str>>,
    known_as: Option<Cow<'a, str>>,
    memos: Vec<Cow<'a, str>>,
    fresh: Option<u64>,
    sealed: Option<String>,
    good: Option<u64>,
    renewable: Option<u64>,
}

/// Writes a session; `opened` is what it has sealed for its kind.
pub(super) fn write(session: &HeldSession, opened: Option<&[u8]>, now: Moment) -> Vec<u8> {
    let left =
        |until: Moment| (until != Moment::NEVER).then(|| Moment::from_millis(0).plus(until.since(now)).as_millis());
    let identity = &session.identity;
    let written = Written {
        user: identity.user().into(),
        name: identity.name().into(),
        email: identity.email().into(),
        roles: identity.roles().iter().map(|role| Cow::Borrowed(role.as_ref())).collect(),
        expires: session.expires,
        password: session.password.as_ref().map(|password| password.expose_secret().into()),
        known_as: session.known_as.as_deref().map(Cow::Borrowed),
        memos: session.memos.iter().map(|memo| memo.as_str().into()).collect(),
        fresh: left(session.fresh_until),
        sealed: opened.map(|opened| STANDARD.encode(opened)),
        good: left(session.good_until),
        renewable: left(session.renewable_until),
    };
    let mut bytes = vec![FORMAT];
    // Fails for nothing that is in there.
    let _ = serde_json::to_writer(&mut bytes, &written);
    bytes
}

/// Reads one that was written so long ago, and what it has for its kind. `None` for what somebody newer wrote, or
/// nobody of ours: then nobody can tell whose session it is.
pub(super) fn read(bytes: &[u8], age: Duration, now: Moment) -> Option<(HeldSession, Option<Vec<u8>>)> {
    let (FORMAT, text) = bytes.split_first().map(|(format, text)| (*format, text))? else { return None };
    let written: Written<'_> = serde_json::from_slice(text).ok()?;
    let roles = written.roles.into_iter().map(|role| Cow::Owned(role.into_owned())).collect();
    let texts = [written.user, written.name, written.email].map(Cow::into_owned);
    let [user, name, email] = texts;
    let identity = Identity::new(user, name, email, roles).ok()?;
    let until = |left: Option<u64>| {
        left.map_or(Moment::NEVER, |left| now.plus(Duration::from_millis(left).saturating_sub(age)))
    };
    let opened = written.sealed.map(|sealed| STANDARD.decode(sealed)).transpose().ok()?;
    let session = HeldSession {
        known_as: written.known_as.map(|id| id.into_owned().into()),
        memos: written.memos.into_iter().map(Cow::into_owned).collect(),
        fresh_until: until(written.fresh),
        good_until: until(written.good),
        renewable_until: until(written.renewable),
        ..HeldSession::new(identity, written.expires, written.password.map(|it| Secret::from(it.into_owned())))
    };
    Some((session, opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_wrote_another_reads_on_its_own_time_line() {
        let identity = Identity::new("ana", "Ana B", "ana@example.test", vec!["staff".into()]).unwrap();
        let session = HeldSession {
            known_as: Some("known".into()),
            memos: smallvec::smallvec!["m".to_owned(), "n".to_owned()],
            fresh_until: Moment::from_millis(900_000),
            good_until: Moment::from_millis(800_500),
            ..HeldSession::new(identity, 5000, Some(Secret::from("pä\"ss")))
        };
        let bytes = write(&session, Some(b"\x00\xff tokens"), Moment::from_millis(800_000));
        let (read_back, opened) = read(&bytes, Duration::from_secs(1), Moment::from_millis(7)).unwrap();
        assert!(read_back.identity == session.identity && read_back.expires == 5000);
        assert_eq!(read_back.password.unwrap().expose_secret(), "pä\"ss");
        assert_eq!((read_back.known_as.as_deref(), read_back.memos), (Some("known"), session.memos));
        assert_eq!(read_back.fresh_until, Moment::from_millis(99_007));
        assert_eq!(read_back.good_until, Moment::from_millis(7), "it was over on the way");
        assert_eq!(read_back.renewable_until, Moment::NEVER);
        assert_eq!(opened.as_deref(), Some(&b"\x00\xff tokens"[..]));
    }

    #[test]
    fn what_a_newer_keyward_writes_is_not_guessed_at() {
        let identity = Identity::new("ana", "", "", Vec::new()).unwrap();
        let bytes = write(&HeldSession::new(identity, 1, None), None, Moment::NEVER);
        let is_read = |bytes: &[u8]| read(bytes, Duration::ZERO, Moment::from_millis(0)).is_some();
        let newer = [&[FORMAT + 1], &bytes[1..]].concat();
        let text = std::str::from_utf8(&bytes[1..]).unwrap();
        let longer = [&[FORMAT], text.replacen('{', "{\"new\":1,", 1).as_bytes()].concat();
        assert_eq!(
            [&bytes[..], &newer, &longer, &[], &[FORMAT], b"\x01{}"].map(is_read),
            [true, false, true, false, false, false]
        );
    }
}
