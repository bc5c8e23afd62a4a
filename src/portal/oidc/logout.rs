//! The end of a session: told to the provider by the browser (OpenID Connect RP-Initiated Logout 1.0), or
//! told by the provider itself (Back-Channel Logout 1.0).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use url::Url;
use url::form_urlencoded;

use super::claims::{self, LogoutToken, OLDEST_LOGOUT};
use super::settings::PostLogout;
use super::{House, Oidc};
use crate::domain::{Call, Desk, Reply, SessionHandle, UnixSeconds};
use crate::portal::Called;
use crate::portal::notes::{End, end_of};
use crate::store::StoreOutage;

/// For how long it is remembered that a session has ended of which nothing is known here, in seconds: as long
/// as its sign-in may be under way, or a token of it may be good.
const REMEMBERED_FOR: u64 = 24 * 3600;

impl House {
    /// Where the browser is signed out at the provider as well.
    pub(super) fn farewell(&self, id: &str, origin: &str, return_to: Option<&Url>) -> Option<String> {
        if self.settings.post_logout == PostLogout::Here {
            return None;
        }
        let session = self.kept.of_id(id, 0)?;
        let tokens = self.tokens(id, &session)?;
        let mut address = Url::parse(tokens.end_session.as_deref()?).ok()?;
        let after = return_to.map_or_else(|| format!("{origin}{}", self.goodbye()), |url| url.as_str().to_owned());
        address
            .query_pairs_mut()
            .append_pair("id_token_hint", &tokens.id)
            .append_pair("post_logout_redirect_uri", &after)
            .append_pair("client_id", &self.settings.client_id);
        Some(address.into())
    }

    /// The origin of that address. Where it is not known yet, the provider has it where it has everything else.
    pub(super) fn farewell_origin(&self) -> Option<String> {
        if self.settings.post_logout == PostLogout::Here {
            return None;
        }
        let address = match self.provider.known_now() {
            Some(known) => known.end_session.clone()?,
            None => self.settings.issuer_url.clone(),
        };
        Some(address.origin().ascii_serialization())
    }

    /// Where the provider sends the browser when it has signed it out.
    pub(super) fn goodbye(&self) -> String {
        format!("/.keyward/signed-out/{}", self.name)
    }

    fn note(&self, memo: &str) -> String {
        end_of(&self.name, memo)
    }

    /// Remembers that the provider has ended what it calls so, since a sign-in may be under way.
    pub(super) fn note_end(&self, memo: &str) {
        let now = self.clock.unix();
        self.kept.note_end(&self.errands, &self.name, &self.end(memo, now, now), now);
    }

    /// Whether there is anything to end for a logout token of this id. To end twice harms nobody but who has come
    /// since, so while nobody can tell, it counts once here.
    async fn is_new(&self, jti: &str, now: UnixSeconds, until: UnixSeconds) -> Result<bool, NotEnded> {
        let known = self.kept.noted_by_all(jti, now).await;
        if matches!(known, Ok(Some(_))) || self.kept.notes().get(jti, now).is_some() {
            return Err(NotEnded::CameBefore);
        }
        let is_first_here = self.kept.notes().put_apart(jti.to_owned(), until, now);
        Ok(is_first_here || known.is_ok())
    }

    /// Has no replica let anybody in any more with what was issued by then, and finds the sessions that are kept.
    async fn note_and_find(&self, memo: &str, theirs: Option<&str>, issued: UnixSeconds, now: UnixSeconds) -> Called {
        self.kept.note_end_now(&self.errands, &self.name, &self.end(memo, issued, now), now).await;
        let mut called = self.kept.called(&self.name, memo).await;
        if let Some(theirs) = theirs {
            // Those are here by now.
            let theirs = self.kept.ids_with_memo(&self.name, theirs);
            called.ids.retain(|id| theirs.contains(id));
        }
        called
    }

    fn end(&self, memo: &str, time: UnixSeconds, now: UnixSeconds) -> End {
        End { name: self.note(memo), time, until: now.saturating_add(REMEMBERED_FOR) }
    }

    /// Whether a token that was issued then is of a session that has ended since, as far as is known here.
    pub(super) fn has_ended_here(&self, memo: &str, issued: UnixSeconds) -> bool {
        is_since(memo, self.kept.notes().get(&self.note(memo), self.clock.unix()), issued)
    }

    /// The same, as far as any replica knows.
    pub(super) async fn has_ended(&self, memo: &str, issued: UnixSeconds) -> Result<bool, StoreOutage> {
        Ok(is_since(memo, self.kept.noted(&self.note(memo), self.clock.unix()).await?, issued))
    }
}

/// Why what a logout token names has not ended.
enum NotEnded {
    /// It came before.
    CameBefore,
    /// What is known here has.
    Unclear(StoreOutage),
}

/// Whether what was issued then has ended since. The provider gives the name of a session to no other; a person
/// comes again.
fn is_since(memo: &str, ended: Option<UnixSeconds>, issued: UnixSeconds) -> bool {
    ended.is_some_and(|ended| memo.starts_with("sid:") || issued <= ended)
}

impl Oidc {
    /// The provider says that sessions have ended.
    pub(super) async fn called_off_by_provider(&self, call: &Call<'_>, desk: &dyn Desk) -> Reply {
        let mut fields = form_urlencoded::parse(call.body).filter(|(name, _)| name == "logout_token");
        let token = match (fields.next(), fields.next()) {
            (Some((_, token)), None) => token,
            _ => return refusal("invalid_request", "one logout_token is wanted"),
        };
        let house = &self.house;
        let signed = match house.provider.verify(&token).await {
            Ok(Ok(signed)) => signed,
            Ok(Err(unverified)) => return self.not_taken(&unverified),
            // Neither yes nor no: the provider may try again.
            Err(outage) => return unavailable("the provider's keys cannot be had", outage.retry_after()),
        };
        let now = house.clock.unix();
        let token = match claims::logout_token(&signed, &house.settings, now) {
            Ok(token) => token,
            Err(flaw) => return self.not_taken(&flaw),
        };
        let jti = house.note(&format!("jti:{}", token.id));
        let until = token.issued.saturating_add(OLDEST_LOGOUT).saturating_add(2 * house.settings.clock_skew);
        match self.end_all(&token, &jti, (now, until), desk).await {
            Ok(()) => {}
            Err(NotEnded::CameBefore) => return self.not_taken(&"it came before"),
            // There may be more of them than are known here.
            Err(NotEnded::Unclear(outage)) => return unavailable("the store cannot be asked", outage.retry_after()),
        }
        // Only now: whatever went wrong before, the provider tries again, and then nothing is left out.
        match house.kept.note(jti, now, until, now).await {
            Ok(true) => Reply { status: 200, ..Reply::default() },
            Ok(false) => self.not_taken(&"it came before"),
            Err(outage) => unavailable("other replicas cannot be told", outage.retry_after()),
        }
    }

    /// Ends the session of this name; or all of the person's, where none is named.
    async fn end_all(
        &self,
        token: &LogoutToken,
        jti: &str,
        (now, until): (UnixSeconds, UnixSeconds),
        desk: &dyn Desk,
    ) -> Result<(), NotEnded> {
        let (memo, of_subject) = match (&token.sid, &token.subject) {
            (Some(sid), subject) => (format!("sid:{sid}"), subject.as_ref().map(|subject| format!("sub:{subject}"))),
            (None, Some(subject)) => (format!("sub:{subject}"), None),
            (None, None) => return Ok(()),
        };
        let (sender, receiver) = oneshot::channel();
        let (house, jti, issued) = (Arc::clone(&self.house), jti.to_owned(), token.issued);
        let (all, theirs) = (memo.clone(), of_subject.clone());
        // In a task of its own: the provider may not wait for the answer, and come no second time.
        self.house.errands.spawn(async move {
            let found = match house.is_new(&jti, now, until).await {
                Ok(true) => Ok(Some(house.note_and_find(&all, theirs.as_deref(), issued, now).await)),
                Ok(false) => Ok(None),
                Err(before) => Err(before),
            };
            if let Err(Ok(Some(found))) = sender.send(found) {
                found.ids.iter().for_each(|id| house.kept.end_with_all(&house.name, id));
            }
        });
        let found = receiver.await.unwrap_or(Err(NotEnded::Unclear(StoreOutage::Down)))?;
        let Some(Called { mut ids, outage }) = found else { return Ok(()) };
        let theirs = of_subject.map(|theirs| self.bearers.ids_with(&theirs));
        let is_theirs = |id: &String| theirs.as_ref().is_none_or(|theirs| theirs.contains(id));
        ids.extend(self.bearers.ids_with(&memo).into_iter().filter(is_theirs));
        let count = ids.len();
        for id in ids {
            desk.sign_out(&SessionHandle { portal: self.house.name.clone(), id });
        }
        tracing::info!(portal = self.house.name, sessions = count, "the OpenID provider has ended sessions");
        outage.map_or(Ok(()), |outage| Err(NotEnded::Unclear(outage)))
    }

    fn not_taken(&self, why: &dyn std::fmt::Display) -> Reply {
        tracing::warn!(portal = self.house.name, %why, "a logout token is not taken");
        refusal("invalid_request", "the logout token is not good")
    }
}

fn refusal(error: &str, description: &str) -> Reply {
    Reply::json(400, &json!({ "error": error, "error_description": description }))
}

fn unavailable(why: &str, retry_after: Duration) -> Reply {
    let answer = json!({ "error": "temporarily_unavailable", "error_description": why });
    Reply::json(503, &answer).header("retry-after", retry_after.as_secs().max(1).to_string())
}
