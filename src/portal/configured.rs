use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::login_page::LoginPage;
use super::login_url::LoginUrl;
use super::registered::MOST_LOOKED_UP;
use super::role_map::RoleMap;
use super::{
    Called, HeldSession, KINDS, Keeps, Kept, NoPassword, NotKept, PortalSession, Scratch, Sessions, Shown,
    SignedSession, Surroundings, Verdict, Verifier, Whose,
};
use crate::config::{PortalSettings, Section};
use crate::domain::{Browser, Clock, Cookies, PasswordKeeper, Reason, Secret, Service, UnixSeconds};
use crate::observe::{Metrics, PortalMetrics};
use crate::pages::Pages;
use crate::store::StoreOutage;
use crate::wire::Errands;

/// A portal as it was written, not in use yet. Nothing counts it, so a configuration that is read
/// and refused leaves no trace.
pub struct PortalPlan {
    pub(super) name: String,
    pub(super) login_page: LoginPage,
    pub(super) roles: RoleMap,
    pub(super) verifier: Box<dyn Verifier>,
    /// Where its sessions are kept, and what of them.
    pub(super) kept: Option<(Arc<Sessions>, Keeps)>,
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
        let kept = match verifier.keeps() {
            Keeps::Nothing => None,
            keeps => Some((surroundings.sessions, keeps)),
        };
        let (name, roles) = (surroundings.name, RoleMap::new(settings.roles));
        Some(Self { name, login_page: login_page?, roles, verifier, kept })
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

    /// Where people's passwords can be changed from here; see [`Verifier::passwords`].
    #[must_use]
    pub fn passwords(&self) -> Option<Arc<dyn PasswordKeeper>> {
        self.verifier.passwords()
    }

    /// The longest that asking it takes; see [`Verifier::longest_answer`].
    #[must_use]
    pub fn longest_answer(&self) -> Duration {
        self.verifier.longest_answer()
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
        let verdict = self.plan.verifier.verify(shown, now, scratch);
        let is_told = match &verdict {
            Verdict::Rejected(Reason::NoSession) => self.knows_all(&shown.values),
            // Somebody may have planted one of several, which must not depend on what lies in this memory.
            Verdict::Genuine(_) if shown.values.len() > 1 => self.knows_all(&shown.values),
            _ => true,
        };
        if is_told { self.take_note(verdict) } else { Verdict::Unasked }
    }

    /// The same after [`Verdict::Unasked`], from whoever knows: the store, then the portal's own side.
    pub async fn ask(&self, shown: &Shown<'_>, now: UnixSeconds) -> Verdict<'static> {
        let verdict = self.ask_store_and_verifier(shown, now).await;
        self.take_note(verdict).into_owned()
    }

    async fn ask_store_and_verifier(&self, shown: &Shown<'_>, now: UnixSeconds) -> Verdict<'static> {
        let mut unknown = None;
        if !self.knows_all(&shown.values) {
            unknown = self.bring(&shown.values).await.err();
            let verdict = {
                let mut scratch = Scratch::default();
                self.plan.verifier.verify(&shown.reborrow(), now, &mut scratch).into_owned()
            };
            match (verdict, &unknown) {
                (Verdict::Unasked, _) => {}
                (Verdict::Rejected(Reason::NoSession), Some(outage)) => return cannot_tell(outage),
                (verdict, _) => return verdict,
            }
        }
        match (self.plan.verifier.ask(shown, now).await, &unknown) {
            (Verdict::Rejected(Reason::NoSession), Some(outage)) => cannot_tell(outage),
            (verdict, _) => verdict,
        }
    }

    /// Whether none of these values stands for a session that may be in the store and is not here.
    fn knows_all(&self, values: &[&str]) -> bool {
        let looked_up = &values[..values.len().min(MOST_LOOKED_UP)];
        match &self.plan.kept {
            Some((kept, Keeps::Sessions)) => !kept.lacks(self.name(), looked_up),
            _ => true,
        }
    }

    /// Whether nothing more can be found out of this value by [`bring`](Self::bring).
    #[must_use]
    pub fn knows(&self, value: &str) -> bool {
        !self.plan.kept.as_ref().is_some_and(|(kept, _)| kept.lacks(self.name(), &[value]))
    }

    /// Has the sessions of these values here, as far as there are any.
    ///
    /// # Errors
    /// Nobody can tell whether there are more.
    pub async fn bring(&self, values: &[&str]) -> Result<(), StoreOutage> {
        let looked_up = &values[..values.len().min(MOST_LOOKED_UP)];
        match &self.plan.kept {
            Some((kept, _)) => kept.bring_shown(self.name(), looked_up).await,
            None => Ok(()),
        }
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

    fn take_note<'a>(&'a self, mut verdict: Verdict<'a>) -> Verdict<'a> {
        match &mut verdict {
            Verdict::Genuine(session) => {
                self.metrics.genuine.inc();
                self.plan.roles.translate(&mut session.identity);
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
    pub async fn called(&self, sid: &str) -> Called {
        self.plan.verifier.called(sid).await
    }

    /// The ids of what the portal's side has ended; see [`Verifier::called_off`].
    pub async fn called_off(&self, sid: &str) -> Called {
        self.plan.verifier.called_off(sid).await
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
    pub async fn register(&self, sid: &str, session: HeldSession) -> Result<Kept, NotKept> {
        if !self.plan.roles.has_words_for(&session.identity) {
            return Err(NotKept::Comma);
        }
        self.plan.verifier.register(sid, session).await
    }

    /// Whose the session of this id is now, at whichever replica it is kept; see [`Verifier::whose`].
    ///
    /// # Errors
    /// Another replica may know better, and nobody can tell.
    pub async fn whose(&self, id: &str, now: UnixSeconds) -> Result<Whose, StoreOutage> {
        let mut whose = self.plan.verifier.whose(id, now);
        if let (Whose::Unknown, Some((kept, _))) = (&whose, &self.plan.kept) {
            kept.bring(self.name(), &[id.to_owned()]).await?;
            whose = self.plan.verifier.whose(id, now);
        }
        Ok(match whose {
            Whose::Of(mut identity) => {
                self.plan.roles.translate(&mut identity);
                Whose::Of(identity.into_owned())
            }
            other => other,
        })
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
        self.plan.passwords()
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

fn cannot_tell(outage: &StoreOutage) -> Verdict<'static> {
    Verdict::Unreachable { retry_after: outage.retry_after() }
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
