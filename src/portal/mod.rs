//! Who does the portal say this is?
//!
//! A portal looks at what the browser [shows](Shown) and says *genuine*, *rejected* or *could not ask*. Most
//! of the time it can tell at once: a `ticket` says all of it, a `registered` session was told of through
//! the API, and what was asked a moment ago is still known. Where somebody must be asked first,
//! [`Verifier::verify`] says so and [`Verifier::ask`] does it. Only this room makes a [`PortalSession`],
//! so whoever holds one holds a checked one. [`Sessions`] keeps those of portals whose cookie says nothing
//! of itself.

mod flights;
mod introspect;
pub mod ldap;
mod login_page;
mod login_url;
mod notes;
mod oidc;
mod one_time_token;
mod place;
mod portals;
mod registered;
mod role_map;
#[cfg(test)]
mod scripted;
mod sealed;
mod sessions;
mod shown;
pub mod ticket;

#[cfg(test)]
mod tests;

use login_page::LoginPage;
use login_url::LoginUrl;
pub use portals::{Found, Portals, Sheets, Unfinished, Unreachable};
use role_map::RoleMap;
#[cfg(test)]
pub use scripted::{Says, Scripted};
pub use sealed::Sealed;
pub use sessions::{HeldSession, Kept, Mark, NoRoom, Sessions};
pub use shown::Shown;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use url::Url;

use crate::config::{PortalSettings, Section};
use crate::domain::{
    Browser, Clock, Cookies, Identity, PasswordKeeper, Person, Reason, Secret, Service, SessionHandle, UnixSeconds,
    is_token,
};
use crate::observe::{Metrics, PortalMetrics};
use crate::pages::Pages;
use crate::wire::Errands;

/// Every kind of portal there is.
pub const KINDS: &[Kind] =
    &[ticket::KIND, introspect::KIND, registered::KIND, one_time_token::KIND, oidc::KIND, ldap::KIND];

/// One entry of [`KINDS`].
pub struct Kind {
    /// The `kind` an operator writes.
    pub name: &'static str,
    /// Reads the kind's own settings. Mistakes go into the section; what is returned after a
    /// mistake is thrown away.
    pub build: fn(&mut Section, &Surroundings) -> Box<dyn Verifier>,
}

/// What a portal finds when it is made.
pub struct Surroundings {
    /// Its name in the configuration.
    pub name: String,
    /// Where sessions are kept for portals whose cookie says nothing of itself.
    pub sessions: Arc<Sessions>,
    /// Calls to the portal that must arrive, although nobody waits for them.
    pub errands: Arc<Errands>,
    /// What people are shown.
    pub pages: Arc<Pages>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// What a kind of portal knows: how to check what the browser brings.
pub trait Verifier: Send + Sync + 'static {
    /// The name of the portal's cookie.
    fn cookie(&self) -> &str;

    /// Whether a cookie of this name is the portal's, or of a flow of ours for it: none of them ever goes
    /// upstream.
    fn owns_cookie(&self, name: &[u8]) -> bool {
        name == self.cookie().as_bytes()
    }

    /// Whether its cookie is given by us, so that we take it back at a sign-out.
    fn gives_cookie(&self) -> bool {
        false
    }

    /// Looks at every value that the browser sent under that name, in order, and at the `Authorization`
    /// header where it may count and no cookie is good. `scratch` is memory that the verdict may borrow
    /// from, so that looking allocates next to nothing. Does no I/O: [`Verdict::Unasked`] says that some is
    /// needed.
    fn verify<'a>(&'a self, shown: &Shown<'a>, now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a>;

    /// Asks whoever knows, after [`Verdict::Unasked`]. Never says so itself. What was begun goes on when
    /// nobody waits for it any more.
    fn ask<'a>(&'a self, _shown: &Shown<'_>, _now: UnixSeconds) -> BoxFuture<'a, Verdict<'static>> {
        Box::pin(std::future::ready(Verdict::Rejected(Reason::NoSession)))
    }

    /// What a client without cookies is asked for (`WWW-Authenticate`), where the `Authorization` header may
    /// count.
    fn challenge(&self) -> Option<&str> {
        None
    }

    /// Whether people sign in at a page of ours, so that `login_url` may be left out.
    fn has_own_page(&self) -> bool {
        false
    }

    /// Every session among the values that this portal ever signed, expired and planted ones
    /// included. For signing out, where one too many does less harm than one too few.
    fn signed(&self, presented: &[&str]) -> Vec<SignedSession>;

    /// How long a session may still last of which only the browser knows, in seconds, as far as has been seen.
    fn longest_left(&self) -> u64 {
        0
    }

    /// Opens the password that came with a session.
    ///
    /// # Errors
    /// There is none, or it does not open.
    fn password(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword>;

    /// An access token that speaks for the person of a session, good for some time still.
    ///
    /// # Errors
    /// There is none.
    fn token(&self, _session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        Err(NoPassword::Absent)
    }

    /// Whether sessions here can have such a token at all.
    fn gives_tokens(&self) -> bool {
        false
    }

    /// Where the browser goes when it has signed out here, so that it is signed out there as well.
    /// `origin` is ours, `return_to` the allowed address to go on to afterwards. Asked before the session
    /// ends.
    fn farewell(&self, _id: &str, _origin: &str, _return_to: Option<&Url>) -> Option<String> {
        None
    }

    /// The origin to which [`farewell`](Self::farewell) leads, as far as can be told without a session.
    fn farewell_origin(&self) -> Option<String> {
        None
    }

    /// The ids of all sessions in the house that the portal's own side calls so, as far as they are known.
    fn called(&self, sid: &str) -> Vec<String> {
        vec![sid.to_owned()]
    }

    /// The portal's side has ended what it calls so: the ids of all sessions that this is in the house.
    fn called_off(&self, sid: &str) -> Vec<String> {
        self.called(sid)
    }

    /// Whether the portal's side tells us of its sessions, each by what the browser shows for it.
    fn registers(&self) -> bool {
        false
    }

    /// Takes note of such a session, in the place of an earlier one of the same `sid`.
    ///
    /// # Errors
    /// [`NotKept`].
    fn register(&self, _sid: &str, _session: HeldSession) -> Result<Kept, NotKept> {
        Err(NotKept::NotHere)
    }

    /// Whose the session of this id is now, as far as the portal can tell.
    fn whose(&self, _id: &str, _now: UnixSeconds) -> Whose {
        Whose::Unknown
    }

    /// Forgets the session of this id, and whatever else a sign-out means to the portal. Says when the
    /// session would have ended by itself, where it was kept here.
    fn end(&self, _id: &str) -> Option<UnixSeconds> {
        None
    }

    /// Where people's passwords can be changed from here, as in a directory: how.
    fn passwords(&self) -> Option<Arc<dyn PasswordKeeper>> {
        None
    }

    /// What the portal's side is offered, where it needs something.
    fn service(&self) -> Option<&dyn Service> {
        None
    }
}

/// Whose a session is now, as far as its portal can tell.
#[derive(Debug, PartialEq, Eq)]
pub enum Whose {
    /// This person's.
    Of(Identity<'static>),
    /// Nobody's: it has ended.
    Nobody,
    /// It is not kept here, so only the browser can show it.
    Unknown,
}

/// Why a session that the portal's side tells of is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// This kind of portal has its sessions elsewhere.
    #[error("this kind of portal tells of its sessions in another way")]
    NotHere,
    /// No browser can show it.
    #[error("no cookie can have this value")]
    NoCookie,
    /// One of the roles would be two where they are joined, and nothing here has another word for it.
    #[error("a role holds a comma, and [portal.roles] has no other word for it")]
    Comma,
    /// There are too many.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// Memory for [`Verifier::verify`].
#[derive(Default)]
pub struct Scratch {
    payload: Vec<u8>,
    held: Option<Arc<HeldSession>>,
}

/// What is left to say of a session that is to end.
pub struct SignedSession {
    /// The portal's name for it.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// When it ends, or ended, by itself.
    pub expires: UnixSeconds,
}

/// What a portal says of the cookies it was shown.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// This is who it is.
    Genuine(PortalSession<'a>),
    /// Nobody. The reason is one of `NoSession`, `Expired`, `Forged`, `Revoked`.
    Rejected(Reason),
    /// Nobody can tell at the moment.
    Unreachable {
        /// When to ask again.
        retry_after: Duration,
    },
    /// Somebody must be asked: see [`Verifier::ask`].
    Unasked,
}

impl Verdict<'_> {
    /// Copies what is borrowed.
    #[must_use]
    pub fn into_owned(self) -> Verdict<'static> {
        match self {
            Self::Genuine(session) => Verdict::Genuine(session.into_owned()),
            Self::Rejected(reason) => Verdict::Rejected(reason),
            Self::Unreachable { retry_after } => Verdict::Unreachable { retry_after },
            Self::Unasked => Verdict::Unasked,
        }
    }
}

/// There is no password to log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPassword {
    /// The portal session came without one.
    #[error("the portal session carries no password")]
    Absent,
    /// It is sealed with another key, or for another session.
    #[error("the password in the portal session cannot be opened")]
    Unreadable,
}

/// A checked portal session. It prints nothing of itself: its id opens cached keys.
pub struct PortalSession<'a> {
    id: Cow<'a, str>,
    identity: Identity<'a>,
    expires: UnixSeconds,
    password: Password<'a>,
}

/// Where the password of a session is.
enum Password<'a> {
    /// In the ticket, sealed with this of the portal's keys.
    Sealed { key: u16, text: Option<Cow<'a, str>> },
    /// Here.
    Held(Arc<HeldSession>),
}

impl fmt::Debug for PortalSession<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PortalSession(…)")
    }
}

impl PortalSession<'_> {
    /// The portal's name for the session (`sid`).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When the portal session ends.
    #[must_use]
    pub const fn expires(&self) -> UnixSeconds {
        self.expires
    }

    /// Whose session it is, for whoever asks later.
    #[must_use]
    pub fn person(&self, portal: &str) -> Person {
        Person {
            session: SessionHandle { portal: portal.to_owned(), id: self.id.clone().into_owned() },
            identity: self.identity.clone().into_owned(),
            expires: self.expires,
        }
    }

    /// Copies what is borrowed, so that a login can outlive the request that caused it.
    #[must_use]
    pub fn into_owned(self) -> PortalSession<'static> {
        PortalSession {
            id: Cow::Owned(self.id.into_owned()),
            identity: self.identity.into_owned(),
            expires: self.expires,
            password: match self.password {
                Password::Sealed { key, text } => {
                    Password::Sealed { key, text: text.map(|text| Cow::Owned(text.into_owned())) }
                }
                Password::Held(held) => Password::Held(held),
            },
        }
    }
}

impl<'a> PortalSession<'a> {
    /// One that is kept here, under this id.
    fn held(id: String, held: &'a Arc<HeldSession>) -> Self {
        let password = Password::Held(Arc::clone(held));
        Self { id: Cow::Owned(id), identity: held.identity.borrowed(), expires: held.expires, password }
    }

    /// The same for whoever has nothing to borrow from.
    fn held_here(id: String, held: &Arc<HeldSession>) -> PortalSession<'static> {
        PortalSession::held(id, held).into_owned()
    }

    /// What is kept here of it.
    fn kept(&self) -> Option<&Arc<HeldSession>> {
        match &self.password {
            Password::Held(held) => Some(held),
            Password::Sealed { .. } => None,
        }
    }

    fn held_password(&self) -> Option<Secret> {
        self.kept()?.password.clone()
    }

    /// Whose session it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity<'a> {
        &self.identity
    }

    /// Whose session it is, and nothing more of it.
    #[must_use]
    pub fn into_identity(self) -> Identity<'a> {
        self.identity
    }
}

/// A portal as it was written, not in use yet. Nothing counts it, so a configuration that is read
/// and refused leaves no trace.
pub struct PortalPlan {
    name: String,
    login_page: LoginPage,
    roles: RoleMap,
    verifier: Box<dyn Verifier>,
}

/// One configured portal.
pub struct Portal {
    plan: PortalPlan,
    metrics: PortalMetrics,
}

impl PortalPlan {
    /// Plans a portal from its settings; `None` when its kind is not known or nobody could sign in
    /// there, which is noted. Finishes the section.
    #[must_use]
    pub fn read(
        mut settings: PortalSettings,
        sessions: &Arc<Sessions>,
        errands: &Arc<Errands>,
        pages: &Arc<Pages>,
        clock: &Arc<dyn Clock>,
    ) -> Option<Self> {
        let Some(kind) = KINDS.iter().find(|kind| kind.name == settings.kind) else {
            let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            settings.section.mistake("kind", &format!("is not a known kind; choose {}", known.join(" or ")));
            return None;
        };
        let (sessions, errands, clock) = (Arc::clone(sessions), Arc::clone(errands), Arc::clone(clock));
        let (name, pages) = (settings.name, Arc::clone(pages));
        let surroundings = Surroundings { name, sessions, errands, pages, clock };
        let verifier = (kind.build)(&mut settings.section, &surroundings);
        let login_page = match &settings.login_url {
            Some(template) => read_login_url(&mut settings.section, template),
            None if verifier.has_own_page() => Some(LoginPage::of(&surroundings.name)),
            // Says that it is missing.
            None => {
                settings.section.required("login_url");
                None
            }
        };
        settings.section.finish();
        Some(Self { name: surroundings.name, login_page: login_page?, roles: RoleMap::new(settings.roles), verifier })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is told of its sessions through the API.
    #[must_use]
    pub fn registers(&self) -> bool {
        self.verifier.registers()
    }

    /// Whether its sessions can have an access token.
    #[must_use]
    pub fn gives_tokens(&self) -> bool {
        self.verifier.gives_tokens()
    }

    /// Takes it into use.
    #[must_use]
    pub fn build(self, metrics: &Metrics) -> Arc<Portal> {
        let metrics = metrics.portal(&self.name);
        Arc::new(Portal { plan: self, metrics })
    }
}

impl Portal {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// The name of its cookie.
    #[must_use]
    pub fn cookie(&self) -> &str {
        self.plan.verifier.cookie()
    }

    /// Whether a cookie of this name is the portal's; see [`Verifier::owns_cookie`].
    #[must_use]
    pub fn owns_cookie(&self, name: &[u8]) -> bool {
        self.plan.verifier.owns_cookie(name)
    }

    /// Whether its cookie is given by us; see [`Verifier::gives_cookie`].
    #[must_use]
    pub fn gives_cookie(&self) -> bool {
        self.plan.verifier.gives_cookie()
    }

    /// What this browser shows to this portal. `authorization` says whether that header may count.
    #[must_use]
    pub fn shown<'a>(&self, cookies: &Cookies<'a>, browser: &'a dyn Browser, authorization: bool) -> Shown<'a> {
        let authorization = if authorization { browser.header("authorization") } else { None };
        Shown { values: cookies.values(self.cookie()), authorization, browser: Some(browser) }
    }

    /// Who is this, as far as can be told without asking anybody?
    pub fn validate<'a>(&'a self, shown: &Shown<'a>, now: UnixSeconds, scratch: &'a mut Scratch) -> Verdict<'a> {
        self.take_note(self.plan.verifier.verify(shown, now, scratch))
    }

    /// The same after [`Verdict::Unasked`], from whoever knows.
    pub async fn ask(&self, shown: &Shown<'_>, now: UnixSeconds) -> Verdict<'static> {
        let answer = self.plan.verifier.ask(shown, now);
        self.take_note(answer.await).into_owned()
    }

    /// Who is this? Asks whoever knows where that is needed.
    pub async fn identify(&self, shown: &Shown<'_>, now: UnixSeconds) -> Verdict<'static> {
        let verdict = {
            let mut scratch = Scratch::default();
            let shown = shown.reborrow();
            self.validate(&shown, now, &mut scratch).into_owned()
        };
        match verdict {
            Verdict::Unasked => self.ask(shown, now).await,
            verdict => verdict,
        }
    }

    fn take_note<'a>(&'a self, verdict: Verdict<'a>) -> Verdict<'a> {
        match verdict {
            Verdict::Genuine(session) => {
                self.metrics.genuine.inc();
                return Verdict::Genuine(self.plan.roles.translate(session));
            }
            // Nobody showed anything, so nothing was looked at.
            Verdict::Rejected(Reason::NoSession) | Verdict::Unasked => {}
            Verdict::Rejected(_) => self.metrics.rejected.inc(),
            Verdict::Unreachable { .. } => self.metrics.unreachable.inc(),
        }
        verdict
    }

    /// What a client without cookies is asked for; see [`Verifier::challenge`].
    #[must_use]
    pub fn challenge(&self) -> Option<&str> {
        self.plan.verifier.challenge()
    }

    /// Every session among the values that this portal ever signed; see [`Verifier::signed`].
    #[must_use]
    pub fn signed(&self, presented: &[&str]) -> Vec<SignedSession> {
        self.plan.verifier.signed(presented)
    }

    /// How long a session may still last; see [`Verifier::longest_left`].
    #[must_use]
    pub fn longest_left(&self) -> u64 {
        self.plan.verifier.longest_left()
    }

    /// The ids of what the portal's side calls so; see [`Verifier::called`].
    #[must_use]
    pub fn called(&self, sid: &str) -> Vec<String> {
        self.plan.verifier.called(sid)
    }

    /// The ids of what the portal's side has ended; see [`Verifier::called_off`].
    #[must_use]
    pub fn called_off(&self, sid: &str) -> Vec<String> {
        self.plan.verifier.called_off(sid)
    }

    /// Whether the portal's side tells us of its sessions; see [`Verifier::registers`].
    #[must_use]
    pub fn registers(&self) -> bool {
        self.plan.verifier.registers()
    }

    /// Takes note of a session; see [`Verifier::register`].
    ///
    /// # Errors
    /// [`NotKept`].
    pub fn register(&self, sid: &str, session: HeldSession) -> Result<Kept, NotKept> {
        if !self.plan.roles.has_words_for(&session.identity) {
            return Err(NotKept::Comma);
        }
        self.plan.verifier.register(sid, session)
    }

    /// Whose the session of this id is now; see [`Verifier::whose`].
    #[must_use]
    pub fn whose(&self, id: &str, now: UnixSeconds) -> Whose {
        match self.plan.verifier.whose(id, now) {
            Whose::Of(identity) => Whose::Of(self.plan.roles.of(identity).into_owned()),
            other => other,
        }
    }

    /// Where the browser goes when it has signed out here; see [`Verifier::farewell`].
    #[must_use]
    pub fn farewell(&self, id: &str, origin: &str, return_to: Option<&Url>) -> Option<String> {
        self.plan.verifier.farewell(id, origin, return_to)
    }

    /// The origin to which [`farewell`](Self::farewell) leads; see [`Verifier::farewell_origin`].
    #[must_use]
    pub fn farewell_origin(&self) -> Option<String> {
        self.plan.verifier.farewell_origin()
    }

    /// An access token that speaks for the person of a session; see [`Verifier::token`].
    ///
    /// # Errors
    /// There is none.
    pub fn token(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        self.plan.verifier.token(session)
    }

    /// Ends the session of this id at the portal; see [`Verifier::end`].
    pub fn end(&self, id: &str) -> Option<UnixSeconds> {
        self.plan.verifier.end(id)
    }

    /// The password that came with a session of this portal.
    ///
    /// # Errors
    /// There is none, or it does not open.
    pub fn password(&self, session: &PortalSession<'_>) -> Result<Secret, NoPassword> {
        self.plan.verifier.password(session)
    }

    /// Where people's passwords can be changed from here; see [`Verifier::passwords`].
    #[must_use]
    pub fn passwords(&self) -> Option<Arc<dyn PasswordKeeper>> {
        self.plan.verifier.passwords()
    }

    /// What the portal's side is offered.
    #[must_use]
    pub fn service(&self) -> Option<&dyn Service> {
        self.plan.verifier.service()
    }

    /// Where to sign in and come back to `url`, for somebody at this origin of ours.
    #[must_use]
    pub fn login_address(&self, origin: &str, url: &str) -> String {
        self.plan.login_page.returning_to(origin, url)
    }

    /// The origin of its sign-in page; none where people sign in on whichever host of ours they are.
    #[must_use]
    pub fn login_origin(&self) -> Option<Url> {
        self.plan.login_page.origin()
    }
}

fn read_login_url(section: &mut Section, template: &str) -> Option<LoginPage> {
    match LoginUrl::parse(template) {
        Ok(login_url) => {
            if login_url.after.is_none() {
                section.warn(
                    "login_url",
                    "has no {url} for the address to return to, so people end at the portal when they have signed in",
                );
            }
            Some(LoginPage::Elsewhere(login_url))
        }
        Err(message) => {
            section.mistake("login_url", message);
            None
        }
    }
}

/// Reads `cookie`: the name of a portal's cookie.
fn read_cookie_name(section: &mut Section) -> String {
    let cookie = section.required("cookie");
    if !cookie.bytes().all(is_token) {
        section.mistake("cookie", "must be a cookie name: letters, digits, - and _");
    }
    cookie
}
