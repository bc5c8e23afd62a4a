//! Plays one row, and looks at both ends of the web server.

use crate::application::Arrived;
use crate::browser::Call;
use crate::rows::{Expects, Row, SPOOFED};
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
        Expects::SignIn => nothing(&arrived).and(status(&answer, &[401])).and(told(&answer)),
        Expects::SignInForm => nothing(&arrived).and(status(&answer, &[401])).and(form_page(&answer)),
        Expects::Denied => nothing(&arrived).and(status(&answer, &[403])),
        Expects::Refused => nothing(&arrived).and(status(&answer, &[400, 403, 404, 421])),
        Expects::DeniedPage => nothing(&arrived).and(status(&answer, &[403])).and(page(&answer)),
        Expects::Judged(person) => match arrived.is_empty() {
            true => status(&answer, &[302, 303, 400, 403, 404, 421]),
            false => Arrival { person: Some(person), cookies: "", keyed: true }.check(world, row, "/inbox", &arrived),
        },
        Expects::NoDoor => match arrived.is_empty() {
            true => status(&answer, &[400, 401, 403, 404]),
            false => status(&answer, &[200]),
        },
        Expects::Arrives(person, cookies) => {
            status(&answer, &[200])?;
            Arrival { person: Some(person), cookies, keyed: true }.check(world, row, &call.target, &arrived)
        }
        Expects::ArrivesAt(person, target, cookies) => {
            status(&answer, &[200])?;
            let target = if S::ABILITIES.sets_query { target } else { call.target.as_str() };
            Arrival { person: Some(person), cookies, keyed: true }.check(world, row, target, &arrived)
        }
        Expects::KeepsEncodedSlash(person) => {
            let arrival = Arrival { person: Some(person), cookies: "", keyed: true };
            let kept = status(&answer, &[200]).and(arrival.check(world, row, &call.target, &arrived));
            match S::ABILITIES.keeps_encoded_slash {
                true => kept,
                false => must(kept.is_err(), || "it can, and its abilities say that it cannot".to_owned()),
            }
        }
        Expects::ArrivesOrNot(person) => match arrived.is_empty() {
            true => status(&answer, &[400]).and(must(S::REFUSES_RAW, || answer.everything())),
            false => {
                must(!S::REFUSES_RAW, || "it can, and denies it".to_owned())?;
                Arrival { person: Some(person), cookies: "", keyed: true }.check(world, row, &call.target, &arrived)
            }
        },
        Expects::Gated(person) => {
            status(&answer, &[200])?;
            Arrival { person: Some(person), cookies: "", keyed: false }.check(world, row, &call.target, &arrived)
        }
        Expects::Public => {
            status(&answer, &[200])?;
            Arrival { person: None, cookies: "", keyed: false }.check(world, row, &call.target, &arrived)
        }
        Expects::Shown(person, says) => {
            status(&answer, &[*says])?;
            must(answer.text() == format!("the application says {says}"), || format!("another page: {answer:?}"))?;
            Arrival { person: Some(person), cookies: "", keyed: true }.check(world, row, &call.target, &arrived)
        }
    }
}

/// The answer has one of these statuses.
pub fn status(answer: &Answer, wanted: &[u16]) -> Outcome {
    must(wanted.contains(&answer.status), || format!("not {wanted:?} but {}\n{}", answer.status, answer.everything()))
}

/// The answer is a page that people can read.
pub fn page(answer: &Answer) -> Outcome {
    let kind = answer.all("Content-Type").join(", ");
    must(kind.starts_with("text/html") && !answer.body.is_empty(), || format!("no page: {}", answer.everything()))
}

/// The answer tells a program why it must sign in, and where.
fn told(answer: &Answer) -> Outcome {
    let kind = answer.all("Content-Type").join(", ");
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let login = told["login"].as_str().is_some_and(|login| login.starts_with(LOGIN));
    let right = kind.starts_with("application/json") && told["reason"] == "no_session" && login;
    must(right, || format!("not told: {}", answer.everything()))
}

/// The answer is a page that leads to the sign-in page, for somebody who sent a form.
fn form_page(answer: &Answer) -> Outcome {
    page(answer).and(must(answer.text().contains(LOGIN), || format!("no way to sign in: {}", answer.everything())))
}

/// The answer is the page that says to wait, or none at all where the web server has no pages.
pub fn outage(answer: &Answer, shows_page: bool) -> Outcome {
    if !shows_page {
        return must(answer.body.is_empty(), || format!("it can, and its abilities deny it: {}", answer.everything()));
    }
    let friendly = answer.text().contains("<h1>One moment, please</h1>");
    page(answer).and(must(friendly, || format!("another page: {}", answer.everything())))
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
    fn check<S: WebServer>(&self, world: &World<S>, row: &Row, target: &str, arrived: &[Arrived]) -> Outcome {
        let [arrived] = arrived else { return Err(format!("it arrived {} times: {arrived:?}", arrived.len())) };
        let method = &row.call.method;
        must(arrived.method == *method, || format!("{} instead of {method}", arrived.method))?;
        let body = row.call.body.clone().unwrap_or_default();
        must(arrived.body == body.as_bytes(), || format!("another body, {} bytes", arrived.body.len()))?;
        self.check_target::<S>(target, &arrived.target)?;
        self.check_cookies(arrived)?;
        self.check_owner::<S>(world, arrived)?;
        check_lines(&row.call, arrived)?;
        self.check_identity(arrived)?;
        check_spoofed(arrived)
    }

    fn check_target<S: WebServer>(&self, wanted: &str, arrived: &str) -> Outcome {
        let wanted = if S::CLEANS_ADDRESSES { cleaned(wanted) } else { wanted.to_owned() };
        let wrong = || format!("it arrived at {arrived:?} instead of {wanted:?}");
        // Where the web server cannot set it, pages have it in their address and nothing else has.
        if !self.keyed || (!S::ABILITIES.sets_query && arrived == wanted) {
            return must(arrived == wanted, wrong);
        }
        let (rest, key) = arrived.rsplit_once("_h=").ok_or_else(wrong)?;
        let joint = match wanted.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
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

    /// The keys are this person's, and both of one session.
    fn check_owner<S: WebServer>(&self, world: &World<S>, arrived: &Arrived) -> Outcome {
        let (true, Some(person)) = (self.keyed, self.person) else { return Ok(()) };
        let cookies = arrived.all("Cookie").join("; ");
        let (_, key) = cookies.rsplit_once("_hmail=").unwrap_or_default();
        let owner = world.mail.owner(key);
        must(owner.as_deref() == Some(person.email), || format!("the keys are those of {owner:?}"))?;
        if !S::ABILITIES.sets_query {
            return Ok(());
        }
        // The stand-in numbers the halves of a session one after the other.
        let number = |key: &str| u128::from_str_radix(key, 16).unwrap_or_default();
        let (_, url_key) = arrived.target.rsplit_once("_h=").unwrap_or_default();
        must(number(url_key) == number(key) + 1, || format!("{url_key} is not of the same session as {key}"))
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

/// What else a client said is the application's business, and goes on as it came.
fn check_lines(call: &Call, arrived: &Arrived) -> Outcome {
    let ours = |name: &str| SPOOFED.iter().any(|(spoofed, _)| *spoofed == name) || name == "Cookie" || name == "Host";
    for (name, value) in call.lines.iter().filter(|(name, _)| !ours(name)) {
        let held = arrived.all(name);
        must(held == [value.as_str()], || format!("{name} is {held:?} instead of {value:?}"))?;
    }
    Ok(())
}

/// See [`WebServer::CLEANS_ADDRESSES`].
fn cleaned(target: &str) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut cleaned = String::new();
    let mut capitals = 0;
    for letter in path.replace("//", "/").chars() {
        cleaned.push(if capitals > 0 { letter.to_ascii_uppercase() } else { letter });
        capitals = if letter == '%' { 2 } else { usize::saturating_sub(capitals, 1) };
    }
    query.map_or(cleaned.clone(), |query| format!("{cleaned}?{}", query.replace(';', "&")))
}

/// Nothing of what a client said of itself, and nothing of what Keyward said to the web server alone.
pub fn check_spoofed(arrived: &Arrived) -> Outcome {
    for (name, value) in &arrived.lines {
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        must(!text.contains("evil") && !text.contains("203.0.113.66"), || format!("{name}: {text} was believed"))?;
        must(!text.contains("kw1."), || format!("{name}: {text} holds the portal's session"))?;
        let inner = ["x-upstream-", "x-set-cookie", "x-keyward-"];
        let inner = inner.iter().any(|start| name.to_ascii_lowercase().starts_with(start));
        must(!inner || text.is_empty(), || format!("{name}: {text} is for the web server alone"))?;
    }
    Ok(())
}
