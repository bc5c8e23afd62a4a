use std::sync::Arc;
use std::time::Duration;

use super::template::{Phase, Scope, Template};
use super::*;
use crate::domain::ManualClock;

const RIGHT: &str = r#"
[prefetch]
path = "/login"
take = { token = "field:csrf" }
[submit]
path = "/login"
fields = { user = "{login}", pass = "{password}", csrf = "{token}" }
take = { leave = "query:leave" }
[success]
status = [302]
cookies = ["sid"]
[[refusal]]
status = [401]
[keys]
cookies = ["sid"]
[keep_alive]
path = "/ping"
alive = { status = [200] }
dead = { status = [401] }
[logout]
path = "/logout?token={leave}"
"#;

fn built(text: &str) -> (Form, Vec<String>) {
    let url = "http://127.0.0.1:1/".parse().unwrap();
    let wire = Wire::new(url, None, Duration::from_secs(1), Arc::new(ManualClock::at(0))).unwrap();
    let mut section = Section::from_toml(text).unwrap();
    let settings = Settings::read(&mut section);
    let mistakes = section.mistakes().iter().map(ToString::to_string).collect();
    (Form { settings, wire }, mistakes)
}

#[test]
fn a_right_description_has_no_mistake() {
    let (form, mistakes) = built(RIGHT);
    assert_eq!(mistakes, [""; 0]);
    assert!(form.wants_password() && form.query_key().is_none() && !form.takes_authorization());
    assert_eq!(form.settings.kept, ["leave"], "and nothing that is not needed later");
}

#[test]
fn every_mistake_names_key_and_remedy() {
    for (line, instead, key, remedy) in [
        ("user = \"{login}\", ", "", "submit: ", "{login}"),
        ("{password}", "{passwort}", "submit.fields.pass: ", "known are {login}, {password}, {token}"),
        ("path = \"/ping\"", "path = \"/ping?p={password}\"", "keep_alive.path: ", "{password} is not known here"),
        ("{leave}", "{leave", "logout.path: ", "{{ or }}"),
        (", csrf = \"{token}\"", "", "prefetch.take.token: ", "never used; write {token}"),
        ("?token={leave}", "", "submit.take.leave: ", "never used"),
        ("leave = \"query:leave\"", "token = \"query:leave\"", "submit.take.token: ", "used once"),
        ("leave = \"query:leave\"", "login = \"query:leave\"", "submit.take.login: ", "not login or password"),
        ("field:csrf", "csrf", "prefetch.take.token: ", "field:NAME"),
        ("field:csrf", "regex:(", "prefetch.take.token: ", "does not compile"),
        ("path = \"/login\"\nfields", "method = \"get\"\npath = \"/login\"\nfields", "submit.method: ", "into path"),
        ("path = \"/login\"\nfields", "path = \"login\"\nfields", "submit.path: ", "such as \"/login"),
        ("path = \"/ping\"", "path = \"/a/../ping\"", "keep_alive.path: ", "must be a path"),
        ("path = \"/ping\"", "path = \"/a b\"", "keep_alive.path: ", "must be a path"),
        ("path = \"/ping\"", "path = \"//evil.test/\"", "keep_alive.path: ", "must be a path"),
        ("path = \"/ping\"", "pad = 1", "keep_alive.path: ", "is missing"),
        (
            "path = \"/ping\"",
            "path = \"/\"\nheaders = { Cookie = \"a=b\" }",
            "keep_alive.headers.Cookie: ",
            "leave it out",
        ),
        ("path = \"/ping\"", "path = \"/\"\nheaders = { \"a b\" = \"c\" }", "keep_alive.headers.a b: ", "name"),
        ("[success]\nstatus = [302]\ncookies = [\"sid\"]", "", "success: ", "a good login"),
        ("[success]\nstatus = [302]\ncookies = [\"sid\"]", "[success]", "success: ", "fits every answer"),
        ("[[refusal]]\nstatus = [401]", "", "refusal: ", "[[backend.refusal]]"),
        ("[[refusal]]\nstatus = [401]", "[[refusal]]", "refusal[1]: ", "fits every answer"),
        ("[[refusal]]\n", "[[refusal]]\nmeans = \"no\"\n", "refusal[no].means: ", "\"locked\""),
        ("[[refusal]]\nstatus = [401]", "[[refusal]]\nstatus = [500]", "refusal[1].status: ", "from 200 to 499"),
        ("[[refusal]]\nstatus = [401]", "[[refusal]]\nstatus = [429]", "refusal[1].status: ", "an outage"),
        ("[[refusal]]\nstatus = [401]", "[[refusal]]\nbody = ['a', '(']", "refusal[1].body[2]: ", "does not compile"),
        ("[[refusal]]\nstatus = [401]", "[[refusal]]\nlocation = '['", "refusal[1].location: ", "does not compile"),
        ("[[refusal]]\nstatus = [401]", "[[refusal]]\njson = { ok = 'x' }", "refusal[1].json.ok: ", "begins with /"),
        ("[keys]\ncookies = [\"sid\"]", "[keys]", "keys: ", "names no key"),
        ("[keys]\ncookies = [\"sid\"]", "[keys]\ncookies = [\"s d\"]", "keys.cookies[1]: ", "sid_*"),
        ("[keys]\n", "[keys]\nquery_name = \"k\"\n", "keys.query_name: ", "belong together"),
        ("[keys]\n", "[keys]\nquery_name = \"k&\"\nquery_value = \"{leave}\"\n", "keys.query_name: ", "letters"),
        ("alive = { status = [200] }", "", "keep_alive.alive: ", "a living session"),
        ("dead = { status = [401] }", "", "keep_alive.dead: ", "is gone"),
        ("[prefetch]", "bind = [\"ip\"]\n[prefetch]", "bind[1]: ", "user-agent"),
        ("[prefetch]", "first_page = \"//evil.test\"\n[prefetch]", "first_page: ", "/inbox"),
        ("[prefetch]", "first_page = \"/a\\r\\nb\"\n[prefetch]", "first_page: ", "/inbox"),
        ("[prefetch]", "login_pattern = '('\n[prefetch]", "login_pattern: ", "does not compile"),
        ("[prefetch]", "[prefetch]\nmethod = \"post\"", "prefetch.method: ", "not a known key"),
    ] {
        assert!(RIGHT.contains(line), "{line}");
        let (_, mistakes) = built(&RIGHT.replacen(line, instead, 1));
        let found = mistakes.iter().any(|mistake| {
            mistake.strip_prefix("a text: ").is_some_and(|told| told.starts_with(key) && told.contains(remedy))
        });
        assert!(found, "{key} {remedy} is not in {mistakes:?}");
    }
}

#[test]
fn a_browser_begins_at_the_first_page_with_the_key() {
    let (form, _) = built(RIGHT);
    let keys = |query: &str| {
        let builder = SessionKeys::builder().cookie("sid", "1").unwrap();
        let builder = if query.is_empty() { Ok(builder) } else { builder.query("k", query) };
        builder.and_then(SessionKeysBuilder::build).unwrap()
    };
    assert_eq!(form.entry(&keys("")), "/");
    let (form, _) = built(&format!("first_page = '/inbox/'{RIGHT}"));
    assert_eq!((form.entry(&keys("")), form.entry(&keys("v"))), ("/inbox/".to_owned(), "/inbox/?k=v".to_owned()));
}

fn filled(text: &str, login: &str) -> Result<String, Outage> {
    let template = Template::parse(text, Phase::Prefetch, &mut Scope::default()).unwrap();
    template.fill_path(&Values { login: Some(login), password: None, taken: &[] })
}

#[test]
fn a_value_cannot_leave_its_place_in_a_path() {
    for (text, login, path) in [
        ("/u/{login}", "a/b?c&d=e#f%2f ä", "/u/a%2Fb%3Fc%26d%3De%23f%252f%20%C3%A4"),
        ("/?{{u}}={login}", "..", "/?{u}=.."),
        ("/{login}x", "..", "/..x"),
    ] {
        assert_eq!(filled(text, login).as_deref(), Ok(path));
    }
    for (text, login) in [("/u/{login}/x", ".."), ("/u/{login}", "."), ("/u/.{login}", ".")] {
        assert!(matches!(filled(text, login), Err(Outage::Protocol(_))), "{text} {login}");
    }
}

#[test]
fn a_login_pattern_is_about_the_whole_name() {
    let (form, mistakes) = built(&format!("login_pattern = 'ana|[a-c]+@x'\n{RIGHT}"));
    assert_eq!(mistakes, [""; 0]);
    let pattern = form.settings.login_pattern.as_ref().unwrap();
    for (login, fits) in
        [("ana", true), ("a@x", true), ("ana ", false), ("<ana", false), ("ana\n", false), ("da@x", false)]
    {
        assert_eq!(pattern.is_match(login), fits, "{login:?}");
    }
}

#[test]
fn any_spelling_of_a_key_cookie_is_the_applications() {
    let (form, _) = built(&RIGHT.replace("[keys]\n", "[keys]\nowned_cookies = [\"my_app_*\"]\n"));
    for (name, owned) in [
        ("sid", true),
        (" sid", true),
        ("SID", true),
        ("s%69d", true),
        ("sid[0]", true),
        ("sid%00x", true),
        ("sid2", false),
        ("si", false),
        ("", false),
        ("my_app_", true),
        ("my.app[x", true),
        ("my+app+lang", true),
        ("my_ap", false),
        ("portal_session", false),
    ] {
        assert_eq!(form.owns_cookie(name.as_bytes()), owned, "{name}");
    }
}
