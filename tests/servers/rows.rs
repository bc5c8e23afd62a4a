//! The requests, and what becomes of each.

use crate::browser::Call;
use crate::world::{ALICE, BOB, CAROL, DAVE, Person};

/// One request and what becomes of it.
pub struct Row {
    pub says: &'static str,
    pub who: Who,
    pub call: Call,
    pub expects: Expects,
}

/// Who asks, as the cookies tell.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    Stranger,
    Has(Person),
    /// Cookie lines, with `{ticket}` for the ticket of this person and `{other}` for another one of the same.
    Lines(Person, &'static [&'static str]),
}

/// What becomes of a request.
pub enum Expects {
    /// It goes to the sign-in page of the portal, and back to where it wanted to go.
    SignInPage,
    /// It is told that it must sign in, and where, as programs read it.
    SignIn,
    /// The same, and a person is told.
    SignInForm,
    /// It may not, and is told so.
    Denied,
    /// The same, and a person is told.
    DeniedPage,
    /// It may not, or is no request at all to this web server.
    Refused,
    /// It is decided about as this person's request for `/inbox`, or not understood.
    Judged(Person),
    /// It is decided about as any other address: the application's, or nobody's.
    NoDoor,
    /// It arrives, with this person's keys and identity and these cookies of the browser's own.
    Arrives(Person, &'static str),
    /// The same at this address, less the key.
    ArrivesAt(Person, &'static str, &'static str),
    /// It arrives where the web server can leave an encoded slash alone, and else it does not arrive like that.
    KeepsEncodedSlash(Person),
    /// It arrives, or is no request to the web server or to Keyward.
    ArrivesOrNot(Person),
    /// It arrives, with the identity and no key.
    Gated(Person),
    /// It arrives without anybody's identity or keys.
    Public,
    /// It arrives, and this is what the application says to it, which is shown.
    Shown(Person, u16),
}

use Expects::{
    Arrives, ArrivesAt, ArrivesOrNot, Denied, DeniedPage, Gated, Judged, KeepsEncodedSlash, NoDoor, Public, Refused,
    Shown, SignIn, SignInForm, SignInPage,
};
use Who::{Has, Lines, Stranger};

/// What a client says and nobody may believe.
pub const SPOOFED: &[(&str, &str)] = &[
    ("Remote-User", "evil"),
    ("remote_user", "evil"),
    ("Remote_User", "evil"),
    ("Remote-Name", "evil"),
    ("Remote-Email", "evil@evil.test"),
    ("Remote-Groups", "evil"),
    ("Remote_Groups", "evil"),
    ("X-Upstream-Cookie", "_hmail=evil"),
    ("X-Upstream-Uri", "/evil"),
    ("X-Upstream-Authorization", "evil"),
    ("X-Axigen-Session", "evil"),
    ("X-Original-URL", "http://evil.test/public"),
    ("X-Original-URI", "/evil"),
    ("X-Original-Method", "EVIL"),
    ("X-Forwarded-Uri", "/evil"),
    ("X-Forwarded-Method", "EVIL"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-For", "203.0.113.66"),
    ("X-Forwarded-User", "evil"),
    ("X-Real-IP", "203.0.113.66"),
    ("X-Rewrite-URL", "/evil"),
    ("Authorization", "Bearer evil"),
    ("Proxy", "http://evil.test"),
    ("Forwarded", "for=203.0.113.66;host=evil.test"),
];

fn row(says: &'static str, who: Who, call: Call, expects: Expects) -> Row {
    Row { says, who, call, expects }
}

/// The same with all of that.
pub fn spoofing(call: Call) -> Call {
    SPOOFED.iter().fold(call, |call, (name, value)| call.line(name, value))
}

/// All of them.
pub fn rows() -> Vec<Row> {
    [strangers(), people(), addresses(), cookies(), liars(), refusals(), answers()].into_iter().flatten().collect()
}

fn bad_ticket() -> Call {
    Call::page("/inbox").line("Cookie", "portal_session=kw1.2026a.e30.AAAA; ;;=; theme=dark")
}

fn strangers() -> Vec<Row> {
    let nobody = |says, call, expects| row(says, Stranger, call, expects);
    vec![
        nobody("a stranger's page leads to the sign-in page", Call::page("/inbox?a=1&b=%2Fx%20y"), SignInPage),
        nobody("so does its head", Call::page("/inbox").method("HEAD"), SignInPage),
        nobody("a stranger's script is told", Call::get("/inbox"), SignIn),
        nobody("a stranger's form is told", Call::form("/inbox", "a=1&b=2"), SignInForm),
        nobody("what is public is for everybody", Call::page("/public/logo"), Public),
        nobody("a host that nobody configured is refused", Call::page("/").host("nowhere.example.test"), Refused),
        nobody("nor does the request line name another", Call::page("http://nowhere.example.test/public/x"), Refused),
        nobody("a calendar is told", Call::get("/inbox").method("PROPFIND"), SignIn),
        nobody("what follows no rules of a session is nobody's", bad_ticket(), SignInPage),
    ]
}

fn people() -> Vec<Row> {
    vec![
        row("alice sees her mailbox", Has(ALICE), Call::page("/inbox"), Arrives(ALICE, "")),
        row("bob sees his", Has(BOB), Call::page("/inbox"), Arrives(BOB, "")),
        row("bob may go where the role is needed", Has(BOB), Call::page("/admin/users"), Arrives(BOB, "")),
        row("where no webmail is, no key goes", Has(ALICE), Call::page("/gate/a?b=c"), Gated(ALICE)),
        row("what is public carries nobody", Has(ALICE), Call::page("/public/logo"), Public),
        row("a head arrives as one", Has(ALICE), Call::get("/inbox").method("HEAD"), Arrives(ALICE, "")),
        row("a form arrives whole", Has(ALICE), Call::form("/send", "to=bob&text=a%20b+c"), Arrives(ALICE, "")),
        row("so does one in pieces", Has(ALICE), Call::form("/send", "to=bob").in_pieces(), Arrives(ALICE, "")),
        row("so does a large one", Has(ALICE), Call::form("/send", &"to=bob&".repeat(40_000)), Arrives(ALICE, "")),
        row("an empty one is one", Has(ALICE), Call::form("/send", ""), Arrives(ALICE, "")),
        row(
            "any method arrives",
            Has(ALICE),
            Call::get("/dav/").method("PROPFIND").line("Depth", "1"),
            Arrives(ALICE, ""),
        ),
        row("a large ticket is one", Has(CAROL), Call::page("/inbox"), Arrives(CAROL, "")),
        row(
            "what browsers ask caches goes to the application",
            Has(ALICE),
            Call::get("/inbox").line("If-None-Match", "\"x\"").line("X-Custom", "a, b;c=\"d\""),
            Arrives(ALICE, ""),
        ),
    ]
}

fn addresses() -> Vec<Row> {
    let at = |says, target| row(says, Has(ALICE), Call::get(target), Arrives(ALICE, ""));
    vec![
        at("two slashes go on as they came", "/a//b"),
        at("a query with a question mark goes on as it came", "/list?a=?&b=/?/&c=://"),
        at("brackets and an apostrophe go on as they came", "/list?a[]=1&b='x'"),
        row(
            "what should be encoded and is not goes on as it came, or nowhere",
            Has(ALICE),
            Call::get("/list?b={x}|y^`\"<>"),
            ArrivesOrNot(ALICE),
        ),
        at("an empty query goes on as it came", "/list?"),
        at("a letter beyond ASCII goes on as it came", "/d%C3%ADa%e2%82%ac"),
        row("a host has no case", Has(ALICE), Call::get("/inbox").host("WebMail.EXAMPLE.test"), Arrives(ALICE, "")),
        row(
            "an address with a host is judged by that host",
            Has(ALICE),
            Call::get("http://webmail.example.test:{port}/inbox").host("evil.test"),
            Judged(ALICE),
        ),
        at("a query goes on as it came", "/list?a=1&b=%26%2F%20+;c&d"),
        at("an encoded blank goes on as it came", "/a%20b"),
        at("an encoded percent sign goes on as it came", "/a%25b"),
        at("a semicolon and a plus go on as they came", "/a;v=1/b+c"),
        at("an ampersand in a path goes on as it came", "/a&b%26c"),
        row("an encoded slash is no slash", Has(ALICE), Call::get("/a%2Fb%2fc"), KeepsEncodedSlash(ALICE)),
        row(
            "a key of the browser's own goes no further",
            Has(ALICE),
            Call::get("/list?_h=00000000000000000000000000000bad&a=1"),
            ArrivesAt(ALICE, "/list?a=1", ""),
        ),
    ]
}

fn cookies() -> Vec<Row> {
    let with = |says, lines: &'static [&'static str], rest| {
        row(says, Lines(ALICE, lines), Call::get("/inbox"), Arrives(ALICE, rest))
    };
    vec![
        with(
            "the browser's other cookies go on",
            &["theme=dark; portal_session={ticket}; last=1"],
            "theme=dark; last=1",
        ),
        with(
            "the portal's does not, however often it comes",
            &["portal_session={ticket}; portal_session={ticket}"],
            "",
        ),
        with("nor where a bad one comes first", &["portal_session=bad; a=1; portal_session={ticket}"], "a=1"),
        with("nor in a second line", &["a=1", "portal_session={ticket}; b=2"], "a=1; b=2"),
        with("nor with other blanks", &["a=1;\t portal_session={ticket} ;b=2"], "a=1; b=2"),
        with(
            "a name that only ends like it is another",
            &["x_portal_session=1; portal_session={ticket}"],
            "x_portal_session=1",
        ),
        with("nor without a blank", &["a=1;portal_session={ticket};b=2"], "a=1; b=2"),
        with("a key that the browser sent is not the one", &["_hmail=evil; portal_session={ticket}"], ""),
    ]
}

fn liars() -> Vec<Row> {
    vec![
        row("whoever says to be somebody is nobody", Stranger, spoofing(Call::page("/inbox")), SignInPage),
        row("alice stays alice", Has(ALICE), spoofing(Call::get("/inbox")), Arrives(ALICE, "")),
        row("in public nobody is believed either", Stranger, spoofing(Call::get("/public/logo")), Public),
        row("a role in a header is none", Has(ALICE), spoofing(Call::get("/admin/users")), Denied),
        row("one of the doors is none from outside", Has(ALICE), Call::get("/authz/auth-request"), NoDoor),
        row("nor is the other", Has(ALICE), spoofing(Call::get("/authz/forward-auth")), NoDoor),
        row("nor is that of Envoy", Has(ALICE), Call::get("/authz/ext-authz/inbox"), NoDoor),
        row("nor is one behind dots", Has(ALICE), Call::get("/.keyward/../authz/ext-authz/inbox"), NoDoor),
        row("nor behind dots in another writing", Has(ALICE), Call::get("/.keyward/%2e%2e/authz/auth-request"), NoDoor),
        row("nor is there a door for operators", Has(ALICE), Call::get("/metrics"), NoDoor),
        row("nor below Keyward's pages", Has(ALICE), Call::get("/.keyward/../metrics"), NoDoor),
        row("nor one for the portal", Has(ALICE), Call::get("/v1/sessions"), NoDoor),
        row("a stranger finds no door", Stranger, Call::get("/authz/auth-request"), SignIn),
    ]
}

fn refusals() -> Vec<Row> {
    let alice = |says, target, expects| row(says, Has(ALICE), Call::page(target), expects);
    vec![
        alice("who lacks a role may not", "/admin/users", DeniedPage),
        row("nor may a script", Has(ALICE), Call::get("/admin/users"), Denied),
        row("nor a form", Has(ALICE), Call::form("/admin/users", "a=1"), DeniedPage),
        row("a refused password is no sign-in", Has(DAVE), Call::page("/inbox"), DeniedPage),
        row("two hosts are none", Has(ALICE), Call::get("/inbox").line("Host", "nowhere.example.test"), Refused),
        alice("dots may be another address", "/public/../admin/users", Refused),
        alice("so may encoded dots", "/public/%2e%2e/admin/users", Refused),
        alice("so may two slashes", "//admin/users", Refused),
        alice("so may an encoded letter", "/%61dmin/users", Refused),
        alice("so may a backslash", "/public/..\\admin", Refused),
    ]
}

fn answers() -> Vec<Row> {
    let says = |says, target, status| row(says, Has(ALICE), Call::get(target), Shown(ALICE, status));
    vec![
        says("that something is missing is shown", "/says/404", 404),
        says("that something is forbidden is shown", "/says/403", 403),
        says("that something is broken is shown", "/says/500", 500),
        says("that it is not there is shown", "/says/503", 503),
        row("a no to a form is shown", Has(ALICE), Call::form("/says/401", "a=1"), Shown(ALICE, 401)),
    ]
}

impl Who {
    /// The cookie lines.
    pub fn lines(self) -> Vec<String> {
        match self {
            Self::Stranger => Vec::new(),
            Self::Has(person) => vec![person.ticket().cookie()],
            Self::Lines(person, lines) => {
                let ticket = person.ticket().mint();
                lines.iter().map(|line| line.replace("{ticket}", &ticket)).collect()
            }
        }
    }
}

impl Row {
    /// The request with everything that tells who asks.
    pub fn complete(&self) -> Call {
        self.who.lines().iter().fold(self.call.clone(), |call, line| call.line("Cookie", line))
    }
}
