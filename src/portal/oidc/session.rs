//! From the provider's tokens to a session of ours, and from one refresh to the next.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::House;
use super::claims::{self, IdToken, Unusable};
use super::settings::Source;
use super::tokens::{self, Granted, Refusal};
use crate::domain::{Identity, Moment, Outage, Reason, UnixSeconds};
use crate::portal::{HeldSession, PortalSession, Sealed, Sessions, Turn, Verdict};
use crate::wire::{claims as claims_of, json_object};

/// Tokens are renewed this long before they end, or at three quarters of a short life.
const AHEAD: Duration = Duration::from_secs(60);
/// How long a token is good whose provider does not say it, in seconds (RFC 6749 leaves it open).
const UNTOLD: u64 = 300;
/// After a refresh that did not reach the provider, requests do not ask again for so long.
const AFTER_OUTAGE: Duration = Duration::from_secs(10);
/// What a refresh takes at most beside the provider's answer.
const BESIDE_ANSWER: Duration = Duration::from_secs(10);
/// How often a replica looks whether another one has renewed the tokens, if it is not told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often it does so before it lets the tokens be as they are for a while.
const TURNS_TRIED: usize = 60;

/// The tokens of a session, as they are kept: sealed.
#[derive(Deserialize, Serialize)]
pub(super) struct Tokens {
    pub access: String,
    refresh: Option<String>,
    /// The last ID token. Its claims count until another one comes.
    pub id: String,
    /// Where people sign out at the provider. Kept here, so that it is known after a reload as well.
    pub end_session: Option<String>,
}

impl Tokens {
    /// Those of somebody who brings an access token and nothing else.
    pub(super) fn of_bearer(access: &str) -> Self {
        Self { access: access.to_owned(), refresh: None, id: String::new(), end_session: None }
    }

    /// Sealed for the session of this id.
    pub(super) fn sealed(&self, kept: &Sessions, id: &str) -> Option<Sealed> {
        kept.seal(id, &serde_json::to_vec(self).ok()?)
    }
}

/// Whether the access token of a session is good. A wall clock that is set ends none.
pub(super) fn are_good(session: &HeldSession, now: Moment) -> bool {
    session.good_until > now
}

/// Whether the provider may still give others for its tokens.
fn can_be_renewed(session: &HeldSession, now: Moment) -> bool {
    session.renewable_until > now
}

/// What follows from what the provider gave.
pub(super) struct Read {
    pub identity: Identity<'static>,
    pub id_token: IdToken,
    tokens: Tokens,
    /// When the tokens are to be renewed.
    fresh_until: Moment,
    /// When the access token ends, and when the refresh token does, where the provider said so.
    ends: (Moment, Moment),
}

/// Why nobody can be made of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPerson {
    #[error(transparent)]
    Outage(#[from] Outage),
    #[error("a token is not taken: {0}")]
    Untrusted(String),
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// How a refresh ended.
#[derive(Clone)]
pub(super) enum Refreshed {
    Renewed(Arc<HeldSession>),
    /// The provider has ended the session, or somebody signed out meanwhile.
    Ended,
    /// The provider could not be asked.
    Unreachable(Duration),
}

impl NoPerson {
    fn untrusted(why: impl std::fmt::Display) -> Self {
        Self::Untrusted(why.to_string())
    }
}

impl House {
    /// Reads what came from the token endpoint for the sign-in of this nonce.
    pub(super) async fn read(&self, granted: Granted, nonce: &str) -> Result<Read, NoPerson> {
        let id = granted.id.clone().ok_or_else(|| NoPerson::untrusted("there is no ID token"))?;
        let (id_token, claims) = self.id_token(&id, Some(nonce), &granted.access).await?;
        self.read_all(granted, id, id_token, claims, None).await
    }

    /// The same for a refresh, which may bring no ID token.
    async fn read_again(&self, granted: Granted, before: Tokens, renewable: Moment) -> Result<Read, NoPerson> {
        let known =
            before.id.split('.').nth(1).and_then(json_object).ok_or_else(|| NoPerson::untrusted("none is known"))?;
        let subject = known.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, id_token, claims) = match granted.id.clone() {
            Some(id) => {
                let (id_token, claims) = self.id_token(&id, None, &granted.access).await?;
                (id, id_token, claims)
            }
            None => (before.id.clone(), IdToken { subject: subject.clone(), sid: None, issued: 0 }, known),
        };
        // Back-ends are shown the access token, and it need not come with a new ID token.
        let whose = |access: &str| claims_of(access)?.get("sub").cloned();
        let is_other = whose(&before.access).zip(whose(&granted.access)).is_some_and(|(old, new)| old != new);
        if id_token.subject != subject || is_other {
            return Err(NoPerson::untrusted("it is somebody else's"));
        }
        self.read_all(granted, id, id_token, claims, Some((before, renewable))).await
    }

    async fn id_token(&self, id: &str, nonce: Option<&str>, access: &str) -> Result<(IdToken, Value), NoPerson> {
        let signed = self.provider.verify_granted(id).await?.map_err(NoPerson::untrusted)?;
        let now = self.clock.unix();
        let checked = claims::id_token(&signed, &self.settings, nonce, access, now).map_err(NoPerson::untrusted)?;
        Ok((checked, signed.claims))
    }

    async fn read_all(
        &self,
        granted: Granted,
        id: String,
        id_token: IdToken,
        claims: Value,
        before: Option<(Tokens, Moment)>,
    ) -> Result<Read, NoPerson> {
        let identity = self.identity(claims, &id_token.subject, &granted.access).await?;
        let ends = |seconds| self.clock.now().plus(Duration::from_secs(seconds));
        let lifetime = granted.expires_in.unwrap_or(UNTOLD);
        let (old_refresh, old_end, old_way) =
            before.map_or((None, None, None), |(old, ends)| (old.refresh, Some(ends), old.end_session));
        let is_new = granted.refresh.is_some();
        let told = granted.refresh_expires_in.map(ends);
        let way_out = self.provider.known_now().and_then(|known| known.end_session.clone()).map(String::from);
        let tokens = Tokens {
            access: granted.access,
            refresh: granted.refresh.or(old_refresh),
            id,
            end_session: way_out.or(old_way),
        };
        let fresh_until = match tokens.refresh {
            Some(_) => self.clock.now().plus(fresh_for(lifetime)),
            None => Moment::NEVER,
        };
        let refresh_ends = if is_new { told } else { told.or(old_end) };
        let ends = (ends(lifetime), refresh_ends.unwrap_or(Moment::NEVER));
        Ok(Read { identity, id_token, tokens, fresh_until, ends })
    }

    /// Makes a person of the claims, wherever they are to be looked for.
    async fn identity(&self, id: Value, subject: &str, access: &str) -> Result<Identity<'static>, NoPerson> {
        let mut found = Vec::new();
        for source in &self.settings.claims_from {
            match source {
                Source::IdToken => found.push(id.clone()),
                Source::AccessToken => found.extend(self.access_claims(access, subject).await?),
                Source::UserInfo => {
                    let info = tokens::user_info(&self.provider, access).await?;
                    // Else it may be about somebody else (OpenID Connect Core, section 5.3.2).
                    if info.as_ref().is_some_and(|info| info.get("sub").and_then(Value::as_str) != Some(subject)) {
                        return Err(NoPerson::untrusted("the userinfo is somebody else's"));
                    }
                    found.extend(info);
                }
            }
        }
        let sources: Vec<&Value> = found.iter().collect();
        Ok(self.settings.members.identity(&sources)?)
    }

    /// The claims of an access token of the same person, where it is a signed one. Many are not.
    async fn access_claims(&self, access: &str, subject: &str) -> Result<Option<Value>, Outage> {
        let Ok(signed) = self.provider.verify(access).await? else { return Ok(None) };
        let claims = signed.claims;
        let is = |name: &str, value: &str| claims.get(name).and_then(Value::as_str) == Some(value);
        Ok((is("iss", &self.settings.issuer) && is("sub", subject)).then_some(claims))
    }

    /// A session of what was read, for the cookie value with this id.
    pub(super) fn session(&self, id: &str, read: Read, expires: UnixSeconds) -> Option<HeldSession> {
        let sealed = Some(read.tokens.sealed(&self.kept, id)?);
        let mut session = HeldSession::new(read.identity, expires, None);
        session.memos.push(format!("sub:{}", read.id_token.subject));
        session.memos.extend(read.id_token.sid.map(|sid| format!("sid:{sid}")));
        session.fresh_until = read.fresh_until;
        session.sealed = sealed;
        (session.good_until, session.renewable_until) = read.ends;
        Some(session)
    }

    /// The tokens of a session.
    pub(super) fn tokens(&self, id: &str, session: &HeldSession) -> Option<Tokens> {
        serde_json::from_slice(&self.kept.unseal(id, session.sealed.as_ref()?)?).ok()
    }

    /// Who it is, where the tokens of the session are due to be renewed. As long as the old ones are good,
    /// nobody waits for the new ones.
    pub(super) async fn renewed(self: Arc<Self>, id: String, session: Arc<HeldSession>) -> Verdict<'static> {
        let now = self.clock.now();
        let house = Arc::clone(&self);
        let refresh = self.refreshes.join(id.clone(), {
            let id = id.clone();
            move || async move { house.refresh(&id).await }
        });
        if are_good(&session, now) {
            // Looked at once, which begins it; it goes on without us.
            let _ = refresh.now_or_never();
            return Verdict::Genuine(PortalSession::held_here(id, &session));
        }
        let refused = |retry_after| {
            // An outage is no sign-out: as long as the provider may still stand by the session, it goes on.
            match can_be_renewed(&session, now) {
                true => Verdict::Genuine(PortalSession::held_here(id.clone(), &session)),
                false => Verdict::Unreachable { retry_after },
            }
        };
        // It goes on without us, too: another replica may have begun it and be gone.
        match tokio::time::timeout(self.provider.longest_answer(), refresh).await.ok().flatten() {
            Some(Refreshed::Renewed(session)) => Verdict::Genuine(PortalSession::held_here(id, &session)),
            Some(Refreshed::Ended) => Verdict::Rejected(Reason::Expired),
            Some(Refreshed::Unreachable(retry_after)) => refused(retry_after),
            None => refused(Outage::TimedOut.retry_after()),
        }
    }

    /// Whatever the provider gives for a refresh token, it may give once: of all replicas one asks.
    async fn refresh(self: Arc<Self>, id: &str) -> Refreshed {
        let life = self.provider.longest_answer() + BESIDE_ANSWER;
        for _ in 0..TURNS_TRIED {
            // First, so that the one turn of all replicas does not end while we wait for ours among many. Whoever
            // waited knows what became of those before.
            let place = self.turns.acquire().await;
            match self.kept.turn(&self.name, id, life).await {
                Ok(Turn::Ours(mark)) => {
                    let refreshed = self.refresh_now(id).await;
                    self.kept.done(&self.name, id, mark).await;
                    return refreshed;
                }
                Ok(Turn::Theirs) => {
                    drop(place);
                    self.kept.wait_for_news(id, LOOK_AGAIN).await;
                    match self.kept.newest(&self.name, id, self.clock.unix()).await {
                        Ok(Some(session)) if session.fresh_until > self.clock.now() => {
                            return Refreshed::Renewed(session);
                        }
                        Ok(Some(_)) => {}
                        Ok(None) => return Refreshed::Ended,
                        Err(_) => break,
                    }
                }
                Err(_) => break,
            }
        }
        self.not_now(id)
    }

    /// Nobody knows whether another replica is asking or has asked, so the tokens that are there have to do.
    fn not_now(&self, id: &str) -> Refreshed {
        let outage = Outage::TimedOut;
        match self.kept.of_id(id, self.clock.unix()) {
            Some(session) => self.later(id, &session, &outage),
            None => Refreshed::Unreachable(outage.retry_after()),
        }
    }

    async fn refresh_now(&self, id: &str) -> Refreshed {
        let session = match self.kept.newest(&self.name, id, self.clock.unix()).await {
            Ok(Some(session)) => session,
            Ok(None) => return Refreshed::Ended,
            // A provider that gives something once ends the session of whoever asks for it twice.
            Err(_) => return self.not_now(id),
        };
        if session.fresh_until > self.clock.now() {
            // Another one was faster.
            return Refreshed::Renewed(session);
        }
        let Some(tokens) = self.tokens(id, &session) else { return self.ended(id) };
        let Some(refresh) = tokens.refresh.clone() else { return Refreshed::Renewed(session) };
        if let Some(pause) = self.provider.pause() {
            return self.later(id, &session, &Outage::BackingOff { retry_after: pause });
        }
        let read = match tokens::for_refresh(&self.provider, &self.settings, refresh).await {
            Ok(Ok(granted)) => self.read_again(granted, tokens, session.renewable_until).await,
            Ok(Err(Refusal::InvalidGrant)) => {
                tracing::info!(
                    portal = self.name,
                    user = session.identity.user(),
                    "the OpenID provider has ended a session"
                );
                return self.ended(id);
            }
            Ok(Err(refusal)) => {
                tracing::error!(portal = self.name, %refusal, "tokens cannot be renewed; the OpenID provider refuses us");
                return self.later(id, &session, &Outage::TimedOut);
            }
            Err(outage) => Err(outage.into()),
        };
        match read {
            Ok(read) => self.put_in_place(id, &session, read).await,
            Err(NoPerson::Outage(outage)) => self.later(id, &session, &outage),
            Err(error) => {
                tracing::warn!(portal = self.name, %error, "a session ends, since its new tokens are not good");
                self.ended(id)
            }
        }
    }

    async fn put_in_place(&self, id: &str, session: &Arc<HeldSession>, read: Read) -> Refreshed {
        let Some(new) = self.session(id, read, session.expires) else { return self.ended(id) };
        if new.identity.user() != session.identity.user() {
            return self.ended(id);
        }
        match self.kept.renew(&self.name, id, session, new).await {
            Some(renewed) => Refreshed::Renewed(renewed),
            None => Refreshed::Ended,
        }
    }

    /// The provider could not be asked: the session goes on as it is, and asks again in a while.
    fn later(&self, id: &str, session: &Arc<HeldSession>, outage: &Outage) -> Refreshed {
        tracing::debug!(portal = self.name, %outage, "tokens could not be renewed");
        let now = self.clock.now();
        // Where nothing is valid any more, every request is told so.
        if are_good(session, now) || can_be_renewed(session, now) {
            let same = HeldSession {
                fresh_until: now.plus(AFTER_OUTAGE),
                sealed: session.sealed.clone(),
                good_until: session.good_until,
                renewable_until: session.renewable_until,
                ..HeldSession::new(session.identity.clone(), session.expires, None)
            };
            self.kept.renew_here(id, session, same);
        }
        Refreshed::Unreachable(outage.retry_after())
    }

    fn ended(&self, id: &str) -> Refreshed {
        self.kept.end_with_all(&self.name, id);
        Refreshed::Ended
    }
}

/// How long tokens of this life, in seconds, need not be renewed.
fn fresh_for(lifetime: u64) -> Duration {
    let lifetime = Duration::from_secs(lifetime);
    lifetime.saturating_sub(AHEAD).max(lifetime / 4 * 3).max(Duration::from_secs(1))
}
