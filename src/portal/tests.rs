//! What every portal does, whatever its kind.

use super::*;
use crate::config::{Document, Draft, Mistake};
use crate::domain::ManualClock;
use crate::observe::Metrics;
use crate::pages::Pages;

fn draft(portal: &str) -> Draft {
    let text = format!("[[route]]\nhost = \"h\"\nportal = \"p\"\n[[portal]]\nname = \"p\"\n{portal}");
    Draft::read(Document::parse("k.toml", &text).unwrap())
}

fn plan(mut draft: Draft) -> Option<PortalPlan> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
    PortalPlan::read(draft.portals.remove(0), &Sessions::new(1), &Errands::new(), &Pages::shipped(), &clock)
}

fn read(portal: &str) -> (Option<PortalPlan>, Vec<String>) {
    let draft = draft(portal);
    let mistakes = draft.mistakes.clone();
    (plan(draft), mistakes.all().iter().map(ToString::to_string).collect())
}

fn with_key(login_url: &str) -> String {
    let secret = "0123456789abcdef0123456789abcdef";
    format!(
        "kind = \"ticket\"\ncookie = \"c\"\nlogin_url = {login_url:?}\n[[portal.key]]\nid = \"k\"\nsecret = {secret:?}"
    )
}

#[test]
fn the_address_to_return_to_is_one_encoded_value() {
    for (template, url, address) in [
        (
            "https://p.test/in?next={url}",
            "https://m.test/a?x=1&y=2#z",
            "https://p.test/in?next=https%3A%2F%2Fm%2Etest%2Fa%3Fx%3D1%26y%3D2%23z",
        ),
        (
            "https://p.test/in?next={url}&lang=de",
            "/&next=//evil.test",
            "https://p.test/in?next=%2F%26next%3D%2F%2Fevil%2Etest&lang=de",
        ),
        (
            "https://p.test/in?next={url}",
            "/x\r\nSet-Cookie: a=b",
            "https://p.test/in?next=%2Fx%0D%0ASet%2DCookie%3A%20a%3Db",
        ),
        ("https://p.test/in?next={url}", "/ü{url}", "https://p.test/in?next=%2F%C3%BC%7Burl%7D"),
        ("https://p.test/in", "https://m.test/", "https://p.test/in"),
    ] {
        let (portal, mistakes) = read(&with_key(template));
        assert_eq!(mistakes, [] as [&str; 0]);
        let portal = portal.unwrap().build(&Metrics::new());
        assert_eq!(portal.login_address("https://m.test", url), address);
    }
}

#[test]
fn a_sign_in_page_that_is_no_web_address_is_a_mistake() {
    for template in [
        "/login",
        "javascript:alert(1)",
        "https://a:b@p.test/",
        "https://p.test/\u{e4}",
        "https://p.test/ x",
        "https://p.test/\"><b>",
        "https://p.test/'x",
        "https://p.test/\\x",
        "https://p.test/?a={url}&b={url}",
        "",
    ] {
        let (_, mistakes) = read(&with_key(template));
        assert_eq!(mistakes.len(), 1, "{template}: {mistakes:#?}");
        assert!(mistakes[0].starts_with("k.toml: portal[p].login_url: "), "{template}: {mistakes:#?}");
    }
}

#[test]
fn a_sign_in_page_that_cannot_lead_back_is_warned_of() {
    for (template, warned) in [("https://p.test/in", true), ("https://p.test/in?next={url}", false)] {
        let draft = draft(&with_key(template));
        let mistakes = draft.mistakes.clone();
        assert!(plan(draft).is_some() && mistakes.all().is_empty());
        let warned_of = |warning: &Mistake| warning.key == "portal[p].login_url";
        assert_eq!(mistakes.warnings().iter().any(warned_of), warned, "{template}");
    }
}

#[test]
fn a_kind_that_is_not_known_is_a_mistake_that_names_the_known() {
    let (portal, mistakes) = read("kind = \"tikcet\"\nlogin_url = \"https://p.test/\"\ncookie = \"c\"");
    assert!(portal.is_none());
    let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(mistakes, [format!("k.toml: portal[p].kind: is not a known kind; choose {}", known.join(" or "))]);
}
