use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use url::Url;

use super::{HeldSession, Kept, NoRoom, PortalSession, Shown};
use crate::domain::{Identity, PasswordKeeper, Reason, Secret, Service, UnixSeconds};
use crate::store::StoreOutage;

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

    /// What of its sessions is kept in [`Sessions`](super::Sessions), and so may be in the store where it is not in
    /// memory.
    fn keeps(&self) -> Keeps {
        Keeps::Nothing
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
    fn called<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
        Box::pin(std::future::ready(Called::all(vec![sid.to_owned()])))
    }

    /// The portal's side has ended what it calls so: the ids of all sessions that this is in the house.
    fn called_off<'a>(&'a self, sid: &'a str) -> BoxFuture<'a, Called> {
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
    fn register<'a>(&'a self, _sid: &'a str, _session: HeldSession) -> BoxFuture<'a, Result<Kept, NotKept>> {
        Box::pin(std::future::ready(Err(NotKept::NotHere)))
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

    /// The longest that [`Verifier::ask`] takes; nothing where nobody is asked.
    fn longest_answer(&self) -> Duration {
        Duration::ZERO
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

/// What is kept of a portal's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing: the browser shows all of it.
    Nothing,
    /// What the portal's side said when it was asked. Where nothing is kept it is asked again.
    Answers,
    /// All of it: nobody else can say whose a cookie is.
    Sessions,
}

/// What the portal's side calls by one name.
#[derive(Debug, Default)]
pub struct Called {
    /// The ids of these sessions in the house.
    pub ids: Vec<String>,
    /// Why there may be more of which nobody knows here.
    pub outage: Option<StoreOutage>,
}

impl Called {
    /// These, and no others.
    #[must_use]
    pub const fn all(ids: Vec<String>) -> Self {
        Self { ids, outage: None }
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
    /// Other replicas would not know it.
    #[error("the store cannot be asked")]
    Outage,
}

impl NotKept {
    /// Tells the operator of what only they can change. That the store cannot be asked was told where it was found.
    pub(super) fn report(self, portal: &str) {
        if let Self::NoRoom(_) = self {
            tracing::warn!(portal, "no more sessions can be kept; raise [limits] sessions");
        }
    }
}

/// Memory for [`Verifier::verify`].
#[derive(Default)]
pub struct Scratch {
    pub(super) payload: Vec<u8>,
    pub(super) held: Option<Arc<HeldSession>>,
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
    /// The access token has ended, and the provider cannot be asked for another one.
    #[error("there is no access token at the moment")]
    NotNow,
}
