//! The requests, and what is decided about each.

use crate::cast::Shows;
use crate::portal::{ALICE, BOB, CAROL, DAVE, Person};
use crate::request::{Request, get, page};

/// One request and its decision.
pub struct Row {
    pub says: &'static str,
    pub shows: Shows,
    pub request: Request,
    pub expects: Expects,
    /// Whether it comes with a right `Authorization` header of alice.
    pub authorized: bool,
    /// Kinds of portals that cannot have such a thing, and why.
    pub except: Vec<(&'static [&'static str], &'static str)>,
}

/// What is to be decided.
pub enum Expects {
    /// It passes, with all of this person's identity, and with her key where there is a webmail.
    Allow(&'static Person),
    /// The same with these roles.
    AllowWith(&'static Person, &'static str),
    /// It passes, and nobody is told of.
    Public,
    /// A page is sent to the sign-in page, and back to where it wanted to go.
    Redirect(Why),
    /// Anything else is told of it.
    SignIn(Why),
    Deny(&'static str),
    Unavailable,
}

/// Why somebody must sign in.
#[derive(Clone, Copy)]
pub enum Why {
    NoSession,
    /// Two sessions at once.
    Planted,
    Stranger,
    Expired,
    SignedOut,
    CalledOff,
    CalledOffByApi,
}

use Expects::{Allow, AllowWith, Deny, Public, Redirect, SignIn, Unavailable};

impl Row {
    fn authorized(self) -> Self {
        Self { authorized: true, ..self }
    }

    /// These kinds cannot have it, for this reason.
    fn except(mut self, kinds: &'static [&'static str], why: &'static str) -> Self {
        self.except.push((kinds, why));
        self
    }
}

fn row(says: &'static str, shows: Shows, request: Request, expects: Expects) -> Row {
    Row { says, shows, request, expects, authorized: false, except: Vec::new() }
}

const INBOX: &str = "https://app.example.test/inbox";
const STAFF: &str = "https://app.example.test/staff";
const ADMIN: &str = "https://app.example.test/admin";
const READ: &str = "https://app.example.test/read";
const DAV: &str = "https://app.example.test/dav/";
const PUBLIC: &str = "https://app.example.test/public/logo";
const GATE: &str = "https://gate.example.test/a?b=c";
const BOTH: &str = "https://both.example.test/";

/// All of them.
pub fn rows() -> Vec<Row> {
    [strangers(), people(), addresses(), cookies(), ends(), liars(), neighbours(), outages()]
        .into_iter()
        .flatten()
        .collect()
}

/// Nobody is signed in.
fn strangers() -> Vec<Row> {
    let nobody = |says, request, expects| row(says, Shows::Nothing, request, expects);
    let own_key = "https://app.example.test/inbox?_h=mine&a=1";
    vec![
        nobody("a stranger's page leads to the sign-in page", page(INBOX), Redirect(Why::NoSession)),
        nobody("so does its head", page(INBOX).method("HEAD"), Redirect(Why::NoSession)),
        nobody("a navigation is a page", get(INBOX).header("Sec-Fetch-Mode", "navigate"), Redirect(Why::NoSession)),
        nobody("a script is none", get(INBOX), SignIn(Why::NoSession)),
        nobody("a fetch is none", page(INBOX).header("Sec-Fetch-Mode", "cors"), SignIn(Why::NoSession)),
        nobody("an XHR is none", page(INBOX).header("X-Requested-With", "XMLHttpRequest"), SignIn(Why::NoSession)),
        nobody(
            "a form that is sent is none, and the way back begins at the front door",
            page(INBOX).method("POST").back_to("https://app.example.test/"),
            SignIn(Why::NoSession),
        ),
        nobody("a calendar is none", page(INBOX).method("PROPFIND"), SignIn(Why::NoSession)),
        nobody(
            "the way back holds the whole query",
            page("https://app.example.test/inbox?a=1&b=%2Fx%20y&next=//evil.test"),
            Redirect(Why::NoSession),
        ),
        nobody(
            "the way back holds no key",
            page(own_key).back_to("https://app.example.test/inbox?a=1"),
            Redirect(Why::NoSession),
        ),
        nobody("who needs a role must sign in first", page(ADMIN), Redirect(Why::NoSession)),
        nobody("what is public is for everybody", page(PUBLIC), Public),
        nobody("where no route leads there is no sign-in", page("https://nowhere.example.test/"), Deny("no_route")),
    ]
}

/// Somebody is.
fn people() -> Vec<Row> {
    vec![
        row("alice sees her mailbox", Shows::Alice, page(INBOX), Allow(&ALICE)),
        row("bob sees his", Shows::Bob, page(INBOX), Allow(&BOB)),
        row("alice's script reads", Shows::Alice, get(INBOX), Allow(&ALICE)),
        row("alice's form is sent", Shows::Alice, get(INBOX).method("POST"), Allow(&ALICE)),
        row("alice's calendar asks", Shows::Alice, get(INBOX).method("PROPFIND"), Allow(&ALICE)),
        row("where no webmail is, no key goes", Shows::Alice, page(GATE), Allow(&ALICE)),
        row("what is public carries nobody", Shows::Alice, page(PUBLIC), Public),
        row("a session is no route", Shows::Alice, get("https://nowhere.example.test/"), Deny("no_route")),
        row("alice has the role", Shows::Alice, get(STAFF), Allow(&ALICE)),
        row("alice lacks the role", Shows::Alice, page(ADMIN), Deny("role")),
        row("alice's script lacks it, too", Shows::Alice, get(ADMIN), Deny("role")),
        row("bob has it", Shows::Bob, get(ADMIN), Allow(&BOB)),
        row("dave had it", Shows::Demoted, get(ADMIN), Deny("role")).except(ROLES_STAY.0, ROLES_STAY.1),
        row("dave keeps the rest", Shows::Demoted, get(STAFF), AllowWith(&DAVE, "staff"))
            .except(ROLES_STAY.0, ROLES_STAY.1),
    ]
}

const ROLES_STAY: (&[&str], &str) = (&["one-time-token"], "the host tells of roles once, when a session opens");

/// The address can be written in many ways.
fn addresses() -> Vec<Row> {
    let at = |path: &str| get(&format!("https://app.example.test{path}"));
    let canonical = |url: &str| page(url).back_to(INBOX);
    vec![
        row("an encoded letter may be another route", Shows::Alice, at("/%61dmin"), Deny("ambiguous_path")),
        row("so may dots", Shows::Alice, at("/public/../admin"), Deny("ambiguous_path")),
        row("so may encoded dots", Shows::Nothing, at("/public/%2e%2e/inbox"), Deny("ambiguous_path")),
        row("so may two slashes", Shows::Alice, at("//admin"), Deny("ambiguous_path")),
        row("a longer word is another word", Shows::Alice, at("/administrators"), Allow(&ALICE)),
        row("alice may read", Shows::Alice, get(READ), Allow(&ALICE)),
        row("alice may not write", Shows::Alice, get(READ).method("POST"), Deny("role")),
        row(
            "no header makes another method of it",
            Shows::Alice,
            get(READ).method("POST").header("X-HTTP-Method-Override", "GET"),
            Deny("role"),
        ),
        row("a host has no case", Shows::Alice, get("https://APP.Example.TEST/inbox").back_to(INBOX), Allow(&ALICE)),
        row(
            "a stranger is led back to the one spelling",
            Shows::Nothing,
            canonical("https://APP.example.test.:443/inbox"),
            Redirect(Why::NoSession),
        ),
        row(
            "a host with a name before it is none",
            Shows::Alice,
            get("https://app.example.test@evil.test/inbox").back_to(INBOX),
            Deny("bad_request"),
        ),
    ]
}

/// Cookies that are not quite right, and cookies beside others.
fn cookies() -> Vec<Row> {
    let stranger = |says, shows| row(says, shows, page(INBOX), Redirect(Why::Stranger));
    let good = |says, shows| row(says, shows, get(INBOX), Allow(&ALICE));
    vec![
        stranger("garbage is nobody", Shows::Garbage),
        stranger("an empty cookie is nobody", Shows::Empty),
        stranger("a session that was cut is nobody", Shows::Cut),
        stranger("nine thousand letters are nobody", Shows::Oversized),
        stranger("half of alice and half of bob are nobody", Shows::Swapped),
        stranger("another portal's session under this one's name is nobody", Shows::OthersValue),
        good("a bad one before a good one does not harm", Shows::BadThenGood),
        good("nor does one behind it", Shows::GoodThenBad),
        good("the same twice is the same", Shows::TheSameTwice),
        good("the second line counts as well", Shows::SecondLine),
        row("of two good ones somebody planted one", Shows::TwoGood, page(INBOX), Redirect(Why::Planted)),
    ]
}

/// Sessions end.
fn ends() -> Vec<Row> {
    const OWN: (&[&str], &str) =
        (&["ticket", "registered", "introspect"], "the portal sets its cookie, and Keyward takes no part in it");
    vec![
        row("a session ends by its time", Shows::Expired, page(INBOX), Redirect(Why::Expired)),
        row("who signed out here is out", Shows::SignedOutHere, page(INBOX), Redirect(Why::SignedOut)),
        row("who signed out at the portal is out", Shows::SignedOutThere, get(INBOX), SignIn(Why::CalledOff))
            .except(&["ldap"], "a directory has no sessions that could end there"),
        row(
            "who was signed out through the API is out",
            Shows::SignedOutByApi,
            get(INBOX),
            SignIn(Why::CalledOffByApi),
        )
        .except(&["ldap"], "no server of a portal knows its sessions by name"),
        row("who signed in again is in", Shows::InAgain, get(INBOX), Allow(&ALICE)),
        row("what she had before is not", Shows::BeforeInAgain, get(INBOX), SignIn(Why::SignedOut)),
        row("after alice it is bob's browser", Shows::BobAfterAlice, get(INBOX), Allow(&BOB)),
        row("what was planted before she signed in is nobody", Shows::Planted, get(INBOX), SignIn(Why::Stranger))
            .except(OWN.0, OWN.1),
        row("what she has since is hers", Shows::OverPlanted, get(INBOX), Allow(&ALICE)).except(OWN.0, OWN.1),
    ]
}

/// Somebody says who they are.
fn liars() -> Vec<Row> {
    const NONE: (&[&str], &str) =
        (&["ticket", "registered", "introspect", "one-time-token"], "it knows sessions by cookies alone");
    vec![
        row(
            "a name in a header is nobody",
            Shows::Nothing,
            page(INBOX).header("Remote-User", "bob"),
            Redirect(Why::NoSession),
        ),
        row(
            "alice stays alice",
            Shows::Alice,
            get(INBOX).header("Remote-User", "bob").header("Remote_User", "bob").header("Remote-Email", "b@x.test"),
            Allow(&ALICE),
        ),
        row("a role in a header is none", Shows::Alice, get(ADMIN).header("Remote-Groups", "admin"), Deny("role")),
        row("a right password where none is asked for is none", Shows::Nothing, get(INBOX), SignIn(Why::NoSession))
            .authorized(),
        row("where it may count it does", Shows::Nothing, get(DAV), Allow(&ALICE)).authorized().except(NONE.0, NONE.1),
    ]
}

/// Another portal.
fn neighbours() -> Vec<Row> {
    let theirs = "https://post.example.test/";
    vec![
        row("another portal's session is nobody here", Shows::OtherPortal, page(INBOX), Redirect(Why::NoSession)),
        row("nor is ours under its name", Shows::UnderOthersName, page(INBOX), Redirect(Why::NoSession)),
        row("at home it is carol", Shows::OtherPortal, get(theirs), Allow(&CAROL)),
        row("where both count, the second does, too", Shows::OtherPortal, get(BOTH), Allow(&CAROL)),
        row("the first comes first", Shows::BothPortals, get(BOTH), Allow(&ALICE)),
    ]
}

/// The portal cannot be asked.
fn outages() -> Vec<Row> {
    const NOBODY: (&[&str], &str) = (&["ticket", "registered"], "there is nobody to be asked");
    const KNOWN: (&[&str], &str) = (&["one-time-token", "oidc", "ldap"], "a session is known as soon as it is open");
    let lost = |says, shows, request, expects| row(says, shows, request, expects).except(NOBODY.0, NOBODY.1);
    vec![
        lost("an outage signs nobody out", Shows::KnownNow, get(INBOX), Allow(&ALICE)),
        lost("an outage is no no", Shows::UnknownNow, page(INBOX), Unavailable).except(KNOWN.0, KNOWN.1),
        lost("an outage is no sign-in", Shows::NobodyNow, page(INBOX), Redirect(Why::NoSession)),
    ]
}
