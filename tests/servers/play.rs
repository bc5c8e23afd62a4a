//! Plays one row, and looks at both ends of the web server.

use crate::application::Arrived;
use crate::rows::{Expects, Row};
use crate::support::Answer;
use crate::web_server::WebServer;
use crate::world::{KEY_MARK, LOGIN, Person, World};

/// What is wrong, if anything is.
pub type Outcome = Result<(), String>;

/// An error with this text unless it is so.
pub fn must(is: bool, what: impl FnOnce() -> String) -> Outcome {
    if is { Ok(()) } else { Err(what()) }
}

/// Asks, and compares.
pub async fn row<S: WebServer>(world: &World<S>, row: &Row) -> Outcome {
    let name = world.name();
    let answer = world.browse(&name, &row.complete()).await;
    let arrived = world.arrived(&name);
    let call = &row.call;
    match &row.expects {
        Expects::SignInPage => {
            nothing(&arrived)?;
            sign_in_page(&answer, &world.url(&call.target))
        }
        Expects::SignIn => nothing(&arrived).and(status(&answer, &[401])),
        Expects::Denied => nothing(&arrived).and(status(&answer, &[403])),
        Expects::Refused => nothing(&arrived).and(status(&answer, &[400, 403, 404, 421])),
        Expects::NoDoor => match arrived.is_empty() {
            true => status(&answer, &[400, 401, 403, 404]),
            false => status(&answer, &[200]),
        },
        Expects::Arrives(person, cookies) => {
            status(&answer, &[200])?;
            Arrival { person: Some(person), cookies, keyed: true }.check::<S>(row, &call.target, &arrived)
        }
        Expects::ArrivesAt(person, target, cookies) => {
            status(&answer, &[200])?;
            let target = if S::ABILITIES.sets_query { target } else { call.target.as_str() };
            Arrival { person: Some(person), cookies, keyed: true }.check::<S>(row, target, &arrived)
        }
        Expects::KeepsEncodedSlash(person) => {
            let arrival = Arrival { person: Some(person), cookies: "", keyed: true };
            let kept = status(&answer, &[200]).and(arrival.check::<S>(row, &call.target, &arrived));
            match S::ABILITIES.keeps_encoded_slash {
                true => kept,
                false => must(kept.is_err(), || "it can, and its abilities say that it cannot".to_owned()),
            }
        }
        Expects::Gated(person) => {
            status(&answer, &[200])?;
            Arrival { person: Some(person), cookies: "", keyed: false }.check::<S>(row, &call.target, &arrived)
        }
        Expects::Public => {
            status(&answer, &[200])?;
            Arrival { person: None, cookies: "", keyed: false }.check::<S>(row, &call.target, &arrived)
        }
        Expects::Shown(person, says) => {
            status(&answer, &[*says])?;
            must(answer.text() == format!("the application says {says}"), || format!("another page: {answer:?}"))?;
            Arrival { person: Some(person), cookies: "", keyed: true }.check::<S>(row, &call.target, &arrived)
        }
    }
}

/// The answer has one of these statuses.
pub fn status(answer: &Answer, wanted: &[u16]) -> Outcome {
    must(wanted.contains(&answer.status), || format!("not {wanted:?} but {}\n{}", answer.status, answer.everything()))
}

/// The application heard nothing.
pub fn nothing(arrived: &[Arrived]) -> Outcome {
    must(arrived.is_empty(), || format!("it reached the application: {arrived:?}"))
}

/// A redirect to the portal's sign-in page, with the way back to this address.
fn sign_in_page(answer: &Answer, back: &str) -> Outcome {
    status(answer, &[302, 303])?;
    let location = answer.all("Location").pop().unwrap_or_default();
    let (page, way) = location.split_once("?next=").unwrap_or_default();
    let way = percent_encoding::percent_decode_str(way).decode_utf8_lossy();
    must(page == LOGIN && way == back, || format!("to {location:?}, and back to {way:?} instead of {back:?}"))
}

/// How a request should arrive.
struct Arrival<'a> {
    person: Option<&'a Person>,
    /// The browser's own.
    cookies: &'a str,
    keyed: bool,
}

impl Arrival<'_> {
    fn check<S: WebServer>(&self, row: &Row, target: &str, arrived: &[Arrived]) -> Outcome {
        let [arrived] = arrived else { return Err(format!("it arrived {} times: {arrived:?}", arrived.len())) };
        let method = &row.call.method;
        must(arrived.method == *method, || format!("{} instead of {method}", arrived.method))?;
        let body = row.call.body.clone().unwrap_or_default();
        must(arrived.body == body.as_bytes(), || format!("another body: {arrived:?}"))?;
        self.check_target::<S>(target, &arrived.target)?;
        self.check_cookies(arrived)?;
        self.check_identity(arrived)?;
        check_spoofed(arrived)
    }

    fn check_target<S: WebServer>(&self, wanted: &str, arrived: &str) -> Outcome {
        let wanted = match wanted.split_once('?') {
            Some((path, query)) if !S::KEEPS_SEMICOLONS => format!("{path}?{}", query.replace(';', "&")),
            _ => wanted.to_owned(),
        };
        let wrong = || format!("it arrived at {arrived:?} instead of {wanted:?}");
        // Where the web server cannot set it, pages have it in their address and nothing else has.
        if !self.keyed || (!S::ABILITIES.sets_query && arrived == wanted) {
            return must(arrived == wanted, wrong);
        }
        let (rest, key) = arrived.rsplit_once("_h=").ok_or_else(wrong)?;
        let joint = if wanted.contains('?') { '&' } else { '?' };
        must(rest == format!("{wanted}{joint}") && key.len() == 32 && key.starts_with(KEY_MARK), wrong)
    }

    fn check_cookies(&self, arrived: &Arrived) -> Outcome {
        let lines = arrived.all("Cookie").join(" + ");
        let wrong = || format!("it arrived with the cookies {lines:?}, not {:?} and the key", self.cookies);
        let rest = match self.keyed {
            false => lines.as_str(),
            true => {
                let (rest, key) = lines.rsplit_once("_hmail=").ok_or_else(wrong)?;
                must(key.len() == 32 && key.starts_with(KEY_MARK), wrong)?;
                rest.trim_end_matches("; ")
            }
        };
        must(rest == self.cookies, wrong)
    }

    fn check_identity(&self, arrived: &Arrived) -> Outcome {
        let nobody = Person { user: "", name: "", email: "", roles: &[] };
        let Person { user, name, email, roles } = self.person.unwrap_or(&nobody);
        let groups = roles.join(",");
        let pairs = [("User", *user), ("Name", *name), ("Email", *email), ("Groups", &groups)];
        for (header, wanted) in pairs {
            let held = arrived.all(&format!("Remote-{header}"));
            let right = if wanted.is_empty() { held.iter().all(String::is_empty) } else { held == [wanted] };
            must(right, || format!("Remote-{header} is {held:?} instead of {wanted:?}"))?;
        }
        Ok(())
    }
}

/// Nothing of what a client said of itself, and nothing of what Keyward said to the web server alone.
fn check_spoofed(arrived: &Arrived) -> Outcome {
    for (name, value) in &arrived.lines {
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        must(!text.contains("evil") && !text.contains("203.0.113.66"), || format!("{name}: {text} was believed"))?;
        let inner = ["x-upstream-", "x-set-cookie", "x-keyward-"];
        let inner = inner.iter().any(|start| name.to_ascii_lowercase().starts_with(start));
        must(!inner || text.is_empty(), || format!("{name}: {text} is for the web server alone"))?;
    }
    Ok(())
}
