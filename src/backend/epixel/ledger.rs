//! What the host remembers of one client service: tokens that may still be redeemed, and API sessions.
//!
//! Without a store all of it is in memory ([`here`]). Where replicas share a store it is there ([`shared`]), and the
//! client may come to any of them with what another has minted. Then memory has copies of what was taken up here, for
//! as long as the store is away or has lost them. None of this is asked when a decision is made about somebody whose
//! keys are held.

mod here;
mod shared;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::runtime::Handle;

use self::here::Here;
use self::shared::{Known, Shared};
use crate::backend::Profile;
use crate::domain::{Clock, KnownAs, Person, SessionHandle};
use crate::store::{Event, Store, StoreOutage};

/// Most API sessions, and most unredeemed tokens of each, that belong to one portal session.
const MOST_PER_PERSON: usize = 64;
/// How long it is remembered that an API session has ended, so that the client is not told what it told
/// us.
const ENDED_FOR: Duration = Duration::from_secs(600);
/// How long no token is minted for a portal session that has ended: somebody may have looked at it just
/// before.
pub(super) const GONE_FOR: Duration = Duration::from_secs(5);
/// How often the store is told of what it does not know, while it cannot be told.
const TELL_AGAIN: Duration = Duration::from_secs(2);
/// Sessions of which the store is told before others get their turn.
const BATCH: usize = 64;

/// Names an API session to the client: opaque, and known to nobody else.
pub(super) type ApiSid = Arc<str>;

/// Tokens and API sessions of one client service. Of the limits, that of all sessions is this process's; the others
/// hold for all replicas together, but for what each minted while the store could not be asked.
pub(super) struct Ledger {
    here: Here,
    shared: OnceLock<Shared>,
    /// Whether the store is being told of what it does not know.
    is_telling: AtomicBool,
    me: Weak<Self>,
}

/// For whom an API session is.
pub(super) struct Guest {
    pub person: Person,
    pub known_as: KnownAs,
}

/// How somebody goes to the client service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The browser itself carries the token. All such entries of a portal session are one API session.
    Browser,
    /// Keyward does, and holds the keys that come of it. Each is an API session of its own, so that one
    /// can be ended without the others.
    Keyward,
}

/// A token, and what it is for.
pub(super) struct Minted {
    pub api_sid: ApiSid,
    pub token: String,
}

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotMinted {
    /// There are too many, or the portal session has ended.
    NoRoom,
    /// Nobody is led on without the store.
    Outage(StoreOutage),
}

/// What is to be ended with a portal session.
pub(super) struct Beside {
    pub api_sids: Vec<ApiSid>,
    /// Whether these are all; else the store could not be asked, and is to be asked again.
    pub is_all: bool,
}

impl Ledger {
    pub(super) fn new(token_lifetime: Duration, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            here: Here::new(token_lifetime, clock),
            shared: OnceLock::new(),
            is_telling: AtomicBool::new(false),
            me: Weak::clone(me),
        })
    }

    /// Shares it with other replicas, from before the first token. What was shared stays so.
    pub(super) fn share(&self, store: &Arc<Store>, backend: &Profile) {
        self.shared.get_or_init(|| Shared::new(store, backend));
    }

    /// Takes another lifetime, which counts for the tokens that wait as well if it is shorter.
    pub(super) fn set_token_lifetime(&self, lifetime: Duration) {
        self.here.set_token_lifetime(lifetime);
    }

    /// A new token for the client service, for this person.
    pub(super) async fn mint(&self, guest: Guest, way: Way) -> Result<Minted, NotMinted> {
        let guest = Arc::new(guest);
        let Some(shared) = self.shared.get() else {
            return self.here.mint(guest, way, random).map_err(|_| NotMinted::NoRoom);
        };
        if self.here.is_over(&guest.person) {
            return Err(NotMinted::NoRoom);
        }
        match shared.mint(&guest, way, self.here.token_lifetime()).await {
            Ok(minted) => minted.ok_or(NotMinted::NoRoom),
            Err(_) if shared.goes_on_without() => {
                let session = guest.person.session.clone();
                self.here.mint(guest, way, || shared.apart(&session)).map_err(|_| NotMinted::NoRoom)
            }
            Err(outage) => Err(NotMinted::Outage(outage)),
        }
    }

    /// Takes a token, once: whose it is, if it is still good.
    ///
    /// # Errors
    /// Nobody can tell: it may be good still, or be gone.
    pub(super) async fn redeem(&self, token: &str) -> Result<Option<(ApiSid, Arc<Guest>)>, StoreOutage> {
        let Some(shared) = self.shared.get() else { return Ok(self.here.redeem(token)) };
        if shared.is_here(token) {
            let redeemed = self.here.redeem(token);
            if let Some((api_sid, _)) = &redeemed {
                self.owe(api_sid);
            }
            return Ok(redeemed);
        }
        let Some((api_sid, guest, way)) = shared.redeem(token, self.here.token_lifetime(), false).await? else {
            return Ok(None);
        };
        // What ends the portal session in the store is on its way there, and has the client told.
        if self.here.is_over(&guest.person) {
            return Ok(None);
        }
        // Of the others whoever holds the keys has a copy, and knows when they are given up.
        if way == Way::Browser {
            self.here.adopt(&api_sid, &guest, way, false);
        }
        Ok(Some((api_sid, guest)))
    }

    /// Makes a token worthless that was shown by somebody it is not for. Where the store cannot be told, it ends by
    /// itself.
    pub(super) async fn burn(&self, token: &str) {
        match self.shared.get() {
            Some(shared) if !shared.is_here(token) => {
                drop(shared.redeem(token, self.here.token_lifetime(), true).await);
            }
            _ => self.here.burn(token),
        }
    }

    /// Notes that the client has logged the person in. False if there is no such session.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) async fn acknowledge(&self, api_sid: &str) -> Result<bool, StoreOutage> {
        let Some(shared) = self.shared.get() else { return Ok(self.here.acknowledge(api_sid)) };
        let known = shared.acknowledge(api_sid).await;
        // For whoever waits here, and to be told the store again if it loses that.
        let is_known_here = self.here.acknowledge(api_sid);
        match known {
            Ok(Known::Here(..)) => Ok(true),
            Ok(Known::Ended(_)) => Ok(false),
            Ok(Known::Nothing) => Ok(self.goes_by_memory(shared, api_sid)? && is_known_here),
            Err(_) if is_known_here => {
                self.owe(&api_sid.into());
                Ok(true)
            }
            Err(outage) => Err(outage),
        }
    }

    /// Waits until the client has acknowledged. False if the session ended instead.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) async fn acknowledgement(&self, api_sid: &str) -> Result<bool, StoreOutage> {
        match self.shared.get() {
            Some(shared) if !self.here.is_alone(api_sid) => shared.acknowledgement(api_sid).await,
            _ => Ok(self.here.acknowledgement(api_sid).await),
        }
    }

    /// Whether the client came with the token of this session.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) async fn is_verified(&self, api_sid: &str) -> Result<bool, StoreOutage> {
        self.guest(api_sid).await.map(|guest| guest.is_some())
    }

    /// Notes that the keys of this session are held. False if it has ended meanwhile.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) async fn hand_out(&self, api_sid: &str) -> Result<bool, StoreOutage> {
        let Some(shared) = self.shared.get() else { return Ok(self.here.hand_out(api_sid)) };
        match shared.hold(api_sid).await {
            Ok(Known::Here(guest, way)) => {
                self.here.adopt(&api_sid.into(), &guest, way, true);
                Ok(true)
            }
            Ok(Known::Ended(_)) => Ok(false),
            Ok(Known::Nothing) => Ok(self.goes_by_memory(shared, api_sid)? && self.here.hand_out(api_sid)),
            Err(_) if self.here.hand_out(api_sid) => {
                self.owe(&api_sid.into());
                Ok(true)
            }
            Err(outage) => Err(outage),
        }
    }

    /// For whom a session of the client's is.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) async fn guest(&self, api_sid: &str) -> Result<Option<Arc<Guest>>, StoreOutage> {
        let Some(shared) = self.shared.get() else { return Ok(self.here.guest(api_sid)) };
        match shared.look(api_sid).await {
            Ok(Known::Here(guest, _)) => Ok(Some(guest)),
            Ok(Known::Ended(_)) => Ok(None),
            Ok(Known::Nothing) if self.goes_by_memory(shared, api_sid)? => Ok(self.here.guest(api_sid)),
            Ok(Known::Nothing) => Ok(None),
            Err(outage) => self.here.guest(api_sid).map(Some).ok_or(outage),
        }
    }

    /// Forgets a session that the client itself has ended, and says to which portal session it belonged. Where replicas
    /// share them it says so again when it is asked again: of those who ask at once, none knows whether another lives to
    /// end the portal session.
    ///
    /// # Errors
    /// Nobody can tell.
    pub(super) async fn end_by_client(&self, api_sid: &str) -> Result<Option<SessionHandle>, StoreOutage> {
        let Some(shared) = self.shared.get() else { return Ok(self.here.end_by_client(api_sid)) };
        let session = |guest: Arc<Guest>| guest.person.session.clone();
        let known = shared.end_by_client(api_sid).await;
        match known {
            Ok(Known::Here(guest, _)) => {
                self.here.end_by_client(api_sid);
                Ok(Some(session(guest)))
            }
            Ok(Known::Ended(guest)) => Ok(guest.map(session)),
            Ok(Known::Nothing) if self.goes_by_memory(shared, api_sid)? => Ok(self.here.end_by_client(api_sid)),
            Ok(Known::Nothing) => Ok(None),
            Err(outage) => self.here.end_by_client(api_sid).map(Some).ok_or(outage),
        }
    }

    /// Whether the client itself has ended it, not long ago. Where that is not known it is told, which does no harm.
    pub(super) async fn was_ended_by_client(&self, api_sid: &str) -> bool {
        if self.here.was_ended_by_client(api_sid) {
            return true;
        }
        let Some(shared) = self.shared.get() else { return false };
        matches!(shared.look(api_sid).await, Ok(Known::Ended(_)))
    }

    /// Forgets a session. Where the store cannot be told, it goes with its portal session.
    pub(super) async fn forget(&self, api_sid: &str) {
        self.here.forget(api_sid);
        if let Some(shared) = self.shared.get() {
            drop(shared.forget(api_sid).await);
        }
    }

    /// Forgets every session that belongs to a portal session, which has ended, and gives those of which the client
    /// knows and nobody else. Of all replicas that do so one has each, where the store can be asked. What memory knows
    /// is done when this is first polled.
    pub(super) async fn take_beside(&self, session: &SessionHandle) -> Beside {
        let here = self.here.take_beside(session);
        let Some(shared) = self.shared.get() else { return Beside { api_sids: here, is_all: true } };
        match shared.end(session, &here).await {
            Ok(api_sids) => Beside { api_sids, is_all: true },
            // The client is to hear of it, if it is from several.
            Err(_) => Beside { api_sids: here, is_all: false },
        }
    }

    /// Another replica says something.
    pub(super) fn hear(&self, event: &Event) {
        let Some(shared) = self.shared.get() else { return };
        match event {
            Event::Settled { place } => shared.wake(place),
            Event::Lost => {
                shared.has_lost();
                self.here.owe_all();
                self.tell();
            }
            _ => {}
        }
    }

    /// Whether what the store does not know is as memory has it, because the store has never heard of it, or is known
    /// to have lost it.
    ///
    /// # Errors
    /// Nobody can tell: another replica may have it, or it was lost or has ended, and which is about to be heard here.
    fn goes_by_memory(&self, shared: &Shared, api_sid: &str) -> Result<bool, StoreOutage> {
        if self.here.is_alone(api_sid) {
            return Ok(true);
        }
        let is_copied = self.here.guest(api_sid).is_some();
        if is_copied || shared.may_be_elsewhere(api_sid) { Err(StoreOutage::Down) } else { Ok(false) }
    }

    /// Has the store told of this session, now or later.
    fn owe(&self, api_sid: &ApiSid) {
        self.here.owe(api_sid);
        self.tell();
    }

    /// Tells the store what it does not know, until it knows all.
    fn tell(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_telling.swap(true, Ordering::AcqRel) {
            return;
        }
        let me = Weak::clone(&self.me);
        runtime.spawn(async move {
            while let Some(ledger) = me.upgrade() {
                ledger.tell_what_is_owed().await;
                // Whatever is owed from now on begins this anew, or is seen here.
                ledger.is_telling.store(false, Ordering::Release);
                if !ledger.here.owes() || ledger.is_telling.swap(true, Ordering::AcqRel) {
                    return;
                }
                drop(ledger);
                tokio::time::sleep(TELL_AGAIN).await;
            }
        });
    }

    async fn tell_what_is_owed(&self) {
        let Some(shared) = self.shared.get() else { return };
        let mut last = None;
        loop {
            let some = self.here.owed(last.as_ref(), BATCH);
            let Some(end) = some.last() else { return };
            last = Some(Arc::clone(&end.api_sid));
            for copy in &some {
                match shared.put_back(copy).await {
                    Ok(true) => self.here.is_told(&copy.api_sid),
                    // Its end is about to be heard here, too.
                    Ok(false) => {}
                    Err(_) => return,
                }
            }
        }
    }
}

/// 256 random bits, as they can stand in an address.
fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests;
