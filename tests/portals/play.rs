//! Plays the whole table with one kind of portal.

use futures_util::future::LocalBoxFuture;

use crate::cast::{Cast, Shows};
use crate::house::House;
use crate::portal::{ALICE, Person, Portal, Words};
use crate::request::Request;
use crate::support::{Answer, DOORS, password_of};
use crate::table::{Expects, Row, Why};

/// What became of every row with one kind of portal.
pub struct Play {
    pub kind: &'static str,
    pub cells: Vec<Cell>,
}

/// What became of one row.
pub enum Cell {
    /// It was decided as it should be.
    Right(String),
    /// This kind of portal cannot have such a thing, for this reason.
    Cannot(&'static str),
    /// It was decided otherwise, or what cannot be was.
    Wrong(String),
}

impl Cell {
    /// In a few words.
    pub fn told(&self) -> &str {
        match self {
            Self::Right(told) => told,
            Self::Cannot(why) => why,
            Self::Wrong(_) => "WRONG",
        }
    }

    /// What is wrong, if anything is.
    pub fn wrong(&self) -> Option<&str> {
        match self {
            Self::Wrong(wrong) => Some(wrong),
            Self::Right(_) | Self::Cannot(_) => None,
        }
    }
}

/// Plays all rows, in two acts: while everybody can be asked, and when the portal is lost.
pub fn play<P: Portal>(rows: &[Row]) -> LocalBoxFuture<'_, Play> {
    Box::pin(async move {
        let portal = P::open().await;
        let house = House::start(&portal).await;
        let mut stage = Stage { cast: Cast::gather(&portal, &house).await, portal, house };
        let mut cells: Vec<Option<Cell>> = rows.iter().map(|_| None).collect();
        let first_act = |row: &Row| !matches!(row.shows, Shows::KnownNow | Shows::UnknownNow | Shows::NobodyNow);
        for (row, cell) in rows.iter().zip(&mut cells).filter(|(row, _)| first_act(row)) {
            *cell = Some(stage.cell(row, true).await);
        }
        let lost = stage.portal.lose().is_some();
        for (row, cell) in rows.iter().zip(&mut cells).filter(|(row, _)| !first_act(row)) {
            *cell = Some(stage.cell(row, lost).await);
        }
        Play { kind: P::KIND, cells: cells.into_iter().flatten().collect() }
    })
}

struct Stage<P> {
    portal: P,
    house: House,
    cast: Cast,
}

impl<P: Portal> Stage<P> {
    async fn cell(&self, row: &Row, possible: bool) -> Cell {
        let except = row.except.iter().find(|(kinds, _)| kinds.contains(&P::KIND)).map(|(_, why)| *why);
        let authorization = match row.authorized {
            true => self.portal.authorization(&ALICE).await,
            false => None,
        };
        let counts = row.request.target().starts_with("/dav");
        let can = possible && !(counts && row.authorized && authorization.is_none());
        let lines = if can { self.cast.lines(row.shows) } else { None };
        match (lines, except) {
            (None, Some(why)) => Cell::Cannot(why),
            (None, None) => Cell::Wrong("this cannot be, and the row does not say why".to_owned()),
            (Some(_), Some(why)) => Cell::Wrong(format!("this can be, and the row says {why:?}")),
            (Some(lines), None) => self.decided(row, &lines, authorization.as_deref()).await,
        }
    }

    async fn decided(&self, row: &Row, lines: &[String], authorization: Option<&str>) -> Cell {
        let mut request = row.request.clone();
        if row.authorized {
            // Where the kind knows none, everybody's first guess.
            let guess = format!("Basic {}", base64(&format!("{}:{}", ALICE.user, password_of(ALICE.user))));
            request = request.header("Authorization", authorization.unwrap_or(&guess));
        }
        for door in DOORS {
            let answer = self.house.ask(door, &request.with(lines)).await;
            let (told, expected) = (self.told(&answer), self.expected(&row.expects, &request));
            if told != expected {
                return Cell::Wrong(format!("at {door:?}\n    {told}\n    instead of\n    {expected}"));
            }
        }
        Cell::Right(row.expects.brief(&P::WORDS))
    }

    /// What was decided, with everything that goes along.
    fn told(&self, answer: &Answer) -> String {
        match answer.status {
            200 => {
                let user = answer.one("Remote-User");
                answer.assert_allows(&user);
                let [name, email, groups, cookies, uri] =
                    ["Remote-Name", "Remote-Email", "Remote-Groups", "X-Upstream-Cookie", "X-Upstream-Uri"]
                        .map(|name| answer.one(name));
                let whose = |key: &str| self.house.mail.owner(key).unwrap_or_else(|| format!("nobody: {key}"));
                let cookies = match cookies.split_once("_hmail=") {
                    Some((before, key)) => format!("{before}_hmail=the key of {}", whose(key)),
                    None => cookies,
                };
                let uri = match uri.split_once("_h=") {
                    Some((before, key)) if key.len() == 32 => format!("{before}_h=a key"),
                    _ => uri,
                };
                format!("allow {user:?} {name:?} {email:?} {groups:?}, {cookies:?}, {uri:?}")
            }
            503 => {
                answer.assert_refuses();
                assert!(answer.one("Retry-After").parse::<u64>().unwrap() >= 1, "{answer:?}");
                format!("unavailable: {}", answer.reason())
            }
            403 => format!("deny: {}", answer.assert_refuses().reason()),
            401 | 302 => {
                let away = if answer.maybe("Location").is_some() { "redirect" } else { "sign in" };
                format!("{away}: {} at {}", answer.reason(), answer.login())
            }
            _ => format!("{answer:?}"),
        }
    }

    /// The same for what should be decided.
    fn expected(&self, expects: &Expects, request: &Request) -> String {
        let target = request.target();
        let keyed = url::Url::parse(request.back()).unwrap().host_str() == Some("app.example.test");
        match expects {
            Expects::Allow(person) => allowed(person, &person.groups(), keyed, &target),
            Expects::AllowWith(person, groups) => allowed(person, groups, keyed, &target),
            Expects::Public => {
                let nobody = Person { user: "", name: "", email: "", roles: &[], said: &[] };
                allowed(&nobody, "", false, &target)
            }
            Expects::Redirect(why) | Expects::SignIn(why) => {
                let away = if matches!(expects, Expects::Redirect(_)) { "redirect" } else { "sign in" };
                let login = self.portal.login(&request.origin(), request.back());
                format!("{away}: {} at {login}", why.word(&P::WORDS))
            }
            Expects::Deny(reason) => format!("deny: {reason}"),
            Expects::Unavailable => "unavailable: portal_unavailable".to_owned(),
        }
    }
}

fn allowed(person: &Person, groups: &str, keyed: bool, target: &str) -> String {
    let Person { user, name, email, .. } = person;
    let key = if keyed { format!("; _hmail=the key of {user}") } else { String::new() };
    let joint = if target.contains('?') { '&' } else { '?' };
    let uri = if keyed { format!("{target}{joint}_h=a key") } else { target.to_owned() };
    format!("allow {user:?} {name:?} {email:?} {groups:?}, {:?}, {uri:?}", format!("theme=dark; last=1{key}"))
}

impl Why {
    /// How this kind of portal says it.
    fn word(self, words: &Words) -> &'static str {
        match self {
            Self::NoSession => "no_session",
            Self::Planted => "forged",
            Self::Stranger => words.stranger,
            Self::Expired => words.expired,
            Self::SignedOut => words.signed_out,
            Self::CalledOff => words.called_off,
            Self::CalledOffByApi => words.called_off_by_api,
        }
    }
}

impl Expects {
    fn brief(&self, words: &Words) -> String {
        match self {
            Self::Allow(person) | Self::AllowWith(person, _) => format!("allow {}", person.user),
            Self::Public => "public".to_owned(),
            Self::Redirect(why) => format!("redirect {}", why.word(words)),
            Self::SignIn(why) => format!("sign in {}", why.word(words)),
            Self::Deny(reason) => format!("deny {reason}"),
            Self::Unavailable => "unavailable".to_owned(),
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
