//! Sessions of people who signed in here: how they begin, stay right and end.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use parking_lot::Mutex;

use super::bounded::Bounded;
use super::credentials::Vouched;
use super::directory::Directory;
use crate::domain::{Clock, ExposeSecret, Moment, Secret, UnixSeconds};
use crate::portal::notes::{End, end_of};
use crate::portal::{HeldSession, Sessions};
use crate::wire::Errands;

/// When the directory is asked again after it could not say.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Opens sessions and keeps them as the directory has their people.
pub(super) struct People {
    pub portal: String,
    pub directory: Arc<Directory>,
    pub kept: Arc<Sessions>,
    pub errands: Arc<Errands>,
    pub clock: Arc<dyn Clock>,
    pub session_lifetime: Duration,
    pub refresh_every: Duration,
    /// Since when the passwords of some are others.
    pub changed: Mutex<Bounded<Moment>>,
}

/// Most people of whom it is remembered that their password was changed.
pub(super) const MOST_CHANGED: usize = 10_000;

/// For how long replicas note a change, in seconds: a sign-in with the password before may be under way.
const NOTED_FOR: u64 = 3600;

/// A session that was opened.
pub(super) struct Opened {
    /// What the browser shows for it.
    pub shown: String,
    /// What the house calls it.
    pub id: String,
}

/// 256 random bits.
pub(super) fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What a session is to know without anybody else: neither a name nor a password holds a NUL.
fn secrets(typed: &str, password: &Secret) -> Secret {
    Secret::from(format!("{typed}\0{}", password.expose_secret()))
}

/// By what all sessions of somebody are found.
fn of_user(user: &str) -> String {
    format!("user {}", Directory::spelling(user).unwrap_or_else(|| user.to_owned()))
}

impl People {
    /// A new session, whatever the browser showed before.
    pub(super) async fn open(&self, vouched: &Vouched, typed: &str, password: &Secret) -> Option<Opened> {
        self.keep(random(), vouched, &secrets(typed, password), &[]).await
    }

    /// The session of somebody whose client keeps no cookies: the one that began with this password, however
    /// they spell their name, else a new one. No cookie can show it.
    pub(super) async fn open_without_cookie(
        &self,
        vouched: &Vouched,
        typed: &str,
        password: &Secret,
    ) -> Option<String> {
        let secrets = secrets(typed, password);
        let memo = format!("basic {}", vouched.member.identity.user());
        // One more session does no harm, where nobody can tell of those of other replicas.
        for id in self.kept.called(&self.portal, &memo).await.ids {
            let Some(held) = self.kept.of_id(&id, self.clock.unix()) else { continue };
            // What is remembered of another password leads there, and must not open what this one opens.
            if !self.began_with(&id, &held, password) {
                continue;
            }
            let renewed = self.session(&id, vouched, &secrets, self.end());
            if !self.is_outdated(vouched) && self.kept.renew(&self.portal, &id, &held, renewed).await.is_some() {
                return Some(id);
            }
        }
        // A semicolon ends the value of a cookie, so none can have this one.
        Some(self.keep(format!(";{}", random()), vouched, &secrets, &[memo]).await?.id)
    }

    async fn keep(&self, shown: String, vouched: &Vouched, secrets: &Secret, memos: &[String]) -> Option<Opened> {
        let id = self.kept.id_of(&self.portal, &shown);
        let mut session = self.session(&id, vouched, secrets, self.end());
        session.memos.push(of_user(vouched.member.identity.user()));
        session.memos.extend(memos.iter().cloned());
        if let Err(why) = self.kept.keep(&self.portal, &shown, session).await {
            why.report(&self.portal);
            return None;
        }
        // Looked at only now: a change that comes later finds the session itself.
        if self.is_outdated(vouched) || self.is_outdated_elsewhere(vouched).await {
            self.kept.end(&self.portal, &id);
            return None;
        }
        Some(Opened { shown, id })
    }

    /// Whether the person's password was changed since the directory was asked about it.
    fn is_outdated(&self, vouched: &Vouched) -> bool {
        let mark = self.kept.mark(&self.portal, &[&of_user(vouched.member.identity.user())]);
        self.changed.lock().get(&mark).is_some_and(|changed| *changed >= vouched.asked)
    }

    /// The same by what other replicas have noted, as far as it can be told: one of which nobody can tell is none.
    async fn is_outdated_elsewhere(&self, vouched: &Vouched) -> bool {
        let Some(asked) = self.kept.store_time(vouched.asked) else { return false };
        let note = self.note(vouched.member.identity.user());
        let changed = self.kept.noted(&note, self.clock.unix()).await;
        changed.map_or(true, |changed| changed.is_some_and(|changed| changed >= asked))
    }

    /// Under which name it is noted when somebody's password was changed.
    fn note(&self, user: &str) -> String {
        end_of(&self.portal, &of_user(user))
    }

    fn session(&self, id: &str, vouched: &Vouched, secrets: &Secret, expires: UnixSeconds) -> HeldSession {
        let sealed = self.kept.seal(id, secrets.expose_secret().as_bytes());
        let fresh_until = self.clock.now().plus(self.refresh_every);
        HeldSession { sealed, fresh_until, ..HeldSession::new(vouched.member.identity.clone(), expires, None) }
    }

    fn end(&self) -> UnixSeconds {
        self.clock.unix().saturating_add(self.session_lifetime.as_secs())
    }

    /// The password with which the session of this id began.
    pub(super) fn password(&self, id: &str, session: &HeldSession) -> Option<Secret> {
        self.typed(id, session).map(|(_, password)| password)
    }

    fn began_with(&self, id: &str, session: &HeldSession, password: &Secret) -> bool {
        let began_with = self.password(id, session);
        began_with.is_some_and(|began_with| began_with.expose_secret() == password.expose_secret())
    }

    /// The name as it was typed, and the password.
    fn typed(&self, id: &str, session: &HeldSession) -> Option<(String, Secret)> {
        let opened = Secret::from(String::from_utf8(self.kept.unseal(id, session.sealed.as_ref()?)?).ok()?);
        let (name, password) = opened.expose_secret().split_once('\0')?;
        Some((name.to_owned(), Secret::from(password)))
    }

    /// Ends every session of somebody, and what was opened from it, unless it began with this password.
    pub(super) async fn end_all_but(&self, user: &str, password: &Secret) {
        let (mark, at) = (self.kept.mark(&self.portal, &[&of_user(user)]), self.clock.now());
        self.changed.lock().put(mark, at, at);
        let now = self.clock.unix();
        // First, so that a sign-in under way elsewhere finds the note, or its session is found here.
        if let Some(time) = self.kept.store_time(at) {
            let end = End { name: self.note(user), time, until: now.saturating_add(NOTED_FOR) };
            self.kept.note_end_now(&self.errands, &self.portal, &end, now).await;
        }
        let called = self.kept.called(&self.portal, &of_user(user)).await;
        if let Some(outage) = called.outage {
            tracing::warn!(
                portal = self.portal,
                %outage,
                "sessions of other replicas may outlive a new password; the store cannot be asked"
            );
        }
        for id in called.ids {
            if !self.kept.of_id(&id, now).is_some_and(|held| self.began_with(&id, &held, password)) {
                self.kept.end_with_all(&self.portal, &id);
            }
        }
    }

    /// Has the directory asked whether somebody is still what they were, if it is time. Nobody waits for it, and
    /// one is asked for once, however many requests see that it is time.
    pub(super) fn refresh(self: &Arc<Self>, id: &str, held: &Arc<HeldSession>) {
        let now = self.clock.now();
        if now < held.fresh_until {
            return;
        }
        let asking = self.as_before(held, now.plus(ASK_AGAIN));
        let Some(held) = self.kept.renew_here(id, held, asking) else { return };
        let (people, id) = (Arc::clone(self), id.to_owned());
        self.errands.spawn(async move { people.look_up(&id, held).await });
    }

    async fn look_up(&self, id: &str, held: Arc<HeldSession>) {
        let user = held.identity.user();
        // By the name that was typed: it found them before, and what they are called need not.
        let Some((typed, password)) = self.typed(id, &held) else { return };
        let found = match self.directory.can_look_up() {
            true => self.directory.look_up(&typed).await,
            // Only the person can look, so they sign in once more.
            false => self.directory.sign_in(&typed, &password).await,
        };
        match found {
            Ok(Some(member)) if member.identity.user() == user => {
                let fresh_until = self.clock.now().plus(self.refresh_every);
                let is_same = member.identity == held.identity;
                let renewed = HeldSession { identity: member.identity, ..self.as_before(&held, fresh_until) };
                // Each replica asks for itself, and tells the others where something has changed.
                if is_same {
                    self.kept.renew_here(id, &held, renewed);
                } else {
                    self.kept.renew(&self.portal, id, &held, renewed).await;
                }
            }
            Ok(_) => {
                tracing::info!(portal = self.portal, user, "the directory does not have somebody any more");
                self.kept.lapse(id, self.clock.unix());
            }
            Err(outage) => {
                tracing::warn!(portal = self.portal, %outage, "the directory could not say whether a session is still right");
            }
        }
    }

    fn as_before(&self, held: &HeldSession, fresh_until: Moment) -> HeldSession {
        let sealed = held.sealed.clone();
        HeldSession { sealed, fresh_until, ..HeldSession::new(held.identity.clone(), held.expires, None) }
    }
}

#[cfg(test)]
mod tests;
