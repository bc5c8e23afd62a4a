//! Everybody who comes to the house, in whatever state they are by then.

use crate::house::{House, carols_ticket};
use crate::portal::{ALICE, Asks, BOB, DAVE, Portal, Session};
use crate::support::{Ask, Door, MAIL_PORTAL, until};

/// What a browser shows of the portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    Nothing,
    Alice,
    Bob,
    Garbage,
    Empty,
    /// Alice's, without its last character.
    Cut,
    /// Nine thousand characters.
    Oversized,
    /// The first half of alice's and the second half of bob's.
    Swapped,
    /// Carol's ticket of the other portal, under its own name.
    OtherPortal,
    /// The same under the name of this portal's cookie.
    OthersValue,
    /// Alice's value under the name of the other portal's cookie.
    UnderOthersName,
    /// Alice's, and carol's of the other portal.
    BothPortals,
    BadThenGood,
    GoodThenBad,
    TheSameTwice,
    TwoGood,
    /// In two `Cookie` lines, alice's in the second.
    SecondLine,
    Expired,
    SignedOutHere,
    SignedOutThere,
    /// Through our API, by the portal's name for the session.
    SignedOutByApi,
    /// Of her who signed out and in again: the new one, and the old one.
    InAgain,
    BeforeInAgain,
    /// Bob, in the browser where alice signed out.
    BobAfterAlice,
    /// What somebody had planted in the browser before alice signed in over it, and what she has since.
    Planted,
    OverPlanted,
    /// Dave, who is no admin any more.
    Demoted,
    /// A session that nobody asked about before the portal was lost, and one that was.
    UnknownNow,
    KnownNow,
    NobodyNow,
}

/// All sessions there are; `None` where the kind of portal cannot have such a thing.
pub struct Cast {
    asks: Asks,
    /// The end of each line: other cookies of ours, which go nowhere, and one that goes upstream.
    tail: String,
    cookie: String,
    others_value: String,
    alice: Session,
    bob: Session,
    expired: Session,
    out_here: Session,
    out_there: Option<Session>,
    out_by_api: Session,
    again: (Session, Session),
    bob_after_alice: Session,
    planted: (String, Option<Session>),
    demoted: Option<Session>,
    unknown: Session,
}

impl Cast {
    /// Has everybody sign in, out, and whatever else they do.
    pub async fn gather<P: Portal>(portal: &P, house: &House) -> Self {
        let shown = async |session: &Session| {
            let ask = Ask::get("https://gate.example.test/").cookie(format!("{}={}", portal.cookie(), session.shown));
            house.ask(Door::AuthRequest, &ask).await
        };
        // Whoever signs in comes by, so that everybody is known here before anything happens to them.
        let sign_in = async |person, seconds| {
            let session = portal.sign_in(house, person, "", seconds).await;
            shown(&session).await.assert_allows(person.user);
            session
        };
        let expired = sign_in(&ALICE, Some(2)).await;
        let alice = sign_in(&ALICE, None).await;
        let bob = sign_in(&BOB, None).await;

        let out_here = sign_in(&ALICE, None).await;
        sign_out(portal, house, &out_here).await;
        let leaving = sign_in(&ALICE, None).await;
        let gone = portal.sign_out_there(house, &leaving).await;
        let out_by_api = sign_in(&ALICE, None).await;
        if let Some(sid) = &out_by_api.sid {
            assert_eq!(house.call("DELETE", sid, None).await, 204);
        }
        let before = sign_in(&ALICE, None).await;
        sign_out(portal, house, &before).await;
        let again = (before, sign_in(&ALICE, None).await);

        let first = sign_in(&ALICE, None).await;
        sign_out(portal, house, &first).await;
        let bob_after_alice = sign_in(&BOB, None).await;

        let planted = format!("{:043x}", rand::random::<u128>());
        let over = portal.sign_in_over(house, &ALICE, &planted).await;
        let was_admin = sign_in(&DAVE, None).await;
        let demoted = portal.demote(house, &was_admin).await;
        let cast = Self {
            asks: P::ASKS,
            tail: portal.other_cookies().iter().map(|name| format!("{name}=left-over; ")).collect::<String>()
                + "last=1",
            cookie: portal.cookie(),
            others_value: carols_ticket(),
            unknown: portal.sign_in(house, &ALICE, "", None).await,
            out_there: gone.map(|()| leaving),
            planted: (planted, over),
            alice,
            bob,
            expired,
            out_here,
            out_by_api,
            again,
            bob_after_alice,
            demoted,
        };
        let ended = async |session: &Session| shown(session).await.status == 401;
        until("the end of the session", || ended(&cast.expired)).await;
        if let Some(session) = &cast.out_there {
            until("the news from the portal", || ended(session)).await;
        }
        if let Some(session) = &cast.demoted {
            until("the news of the role", || async { shown(session).await.one("Remote-Groups") == "staff" }).await;
        }
        cast
    }

    /// The `Cookie` lines, among cookies that are no portal's.
    pub fn lines(&self, shows: Shows) -> Option<Vec<String>> {
        let Self { cookie, others_value, tail, .. } = self;
        let one = |value: &str| vec![format!("theme=dark; {cookie}={value}; {tail}")];
        let two = |first: &str, second: &str| one(&format!("{first}; {cookie}={second}"));
        let other = MAIL_PORTAL.cookie;
        let (alice, bob) = (self.alice.shown.as_str(), self.bob.shown.as_str());
        Some(match shows {
            Shows::Nothing | Shows::NobodyNow => vec![format!("theme=dark; {tail}")],
            Shows::Alice | Shows::KnownNow => one(alice),
            Shows::Bob => one(bob),
            Shows::Garbage => one("this-was-never-a-session-of-anybody"),
            Shows::Empty => one(""),
            Shows::Cut => one(&alice[..alice.len() - 1]),
            Shows::Oversized => one(&"A".repeat(9000)),
            Shows::Swapped => one(&format!("{}{}", &alice[..alice.len() / 2], &bob[bob.len() / 2..])),
            Shows::OtherPortal => vec![format!("theme=dark; {other}={others_value}; {tail}")],
            Shows::OthersValue => one(others_value),
            Shows::UnderOthersName => vec![format!("theme=dark; {other}={alice}; {tail}")],
            Shows::BothPortals => one(&format!("{alice}; {other}={others_value}")),
            Shows::BadThenGood => two("bad", alice),
            Shows::GoodThenBad => two(alice, "bad"),
            Shows::TheSameTwice => two(alice, alice),
            Shows::TwoGood => two(alice, bob),
            Shows::SecondLine => vec!["theme=dark".to_owned(), format!("{cookie}={alice}; {tail}")],
            Shows::Expired => one(&self.expired.shown),
            Shows::SignedOutHere => one(&self.out_here.shown),
            Shows::SignedOutThere => one(&self.out_there.as_ref()?.shown),
            Shows::SignedOutByApi => {
                self.out_by_api.sid.as_ref()?;
                one(&self.out_by_api.shown)
            }
            Shows::BeforeInAgain => one(&self.again.0.shown),
            Shows::InAgain => one(&self.again.1.shown),
            Shows::BobAfterAlice => one(&self.bob_after_alice.shown),
            Shows::Planted => {
                self.planted.1.as_ref()?;
                one(&self.planted.0)
            }
            Shows::OverPlanted => one(&self.planted.1.as_ref()?.shown),
            Shows::Demoted => one(&self.demoted.as_ref()?.shown),
            Shows::UnknownNow if self.asks == Asks::Nobody => return None,
            Shows::UnknownNow => one(&self.unknown.shown),
        })
    }
}

/// Somebody signs out here.
async fn sign_out<P: Portal>(portal: &P, house: &House, session: &Session) {
    let cookie = format!("Cookie: {}={}", portal.cookie(), session.shown);
    let answer = house.browse("GET", "/.keyward/logout", &[&cookie, "Sec-Fetch-Site: same-origin"], "").await;
    assert!(matches!(answer.status, 200 | 303), "{answer:?}");
}
