use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::ManualClock;

fn section(text: &str) -> Section {
    Section::from_toml(text).unwrap()
}

fn roundcube(settings: &str) -> Box<dyn Backend> {
    let url = "http://127.0.0.1:1/".parse().unwrap();
    let wire = Wire::new(url, None, Duration::from_secs(1), Arc::new(ManualClock::at(0))).unwrap();
    build(&mut section(settings), wire)
}

#[test]
fn every_spelling_that_php_folds_into_a_session_cookie_is_roundcubes() {
    let roundcube = roundcube("");
    for (name, owned) in [
        ("roundcube_sessid", true),
        ("roundcube_sessauth", true),
        ("roundcube.sessid", true),
        ("roundcube sessid", true),
        ("roundcube[sessid", true),
        ("  roundcube_sessid", true),
        ("roundcube%5Fsessid", true),
        ("roundcube+sessid", true),
        ("roundcube_sessid[0]", true),
        ("roundcube_sessid[]", true),
        ("roundcube_sessid%00x", true),
        ("Roundcube_sessid", false),
        ("roundcube_sessid2", false),
        ("portal_session", false),
        ("", false),
    ] {
        assert_eq!(roundcube.owns_cookie(name.as_bytes()), owned, "{name}");
    }
}

#[test]
fn cookie_names_are_the_operators() {
    let roundcube = roundcube("session_cookie = 'rc_id'\nauth_cookie = 'rc_auth'");
    assert!(roundcube.owns_cookie(b"rc_id") && roundcube.owns_cookie(b"rc.auth"));
    assert!(!roundcube.owns_cookie(b"roundcube_sessid"));
}

fn told(meaning: &Meaning) -> String {
    match meaning {
        Meaning::Known(Ok(refusal)) => format!("{refusal:?}"),
        Meaning::Known(Err(Outage::Locked { .. })) => "locked".to_owned(),
        Meaning::Known(Err(outage)) => format!("{outage:?}"),
        Meaning::Unknown => "unknown".to_owned(),
    }
}

fn lesson(locale: &str, refused: &str, invalid: &str) -> wording::Lesson {
    wording::Lesson { locale: locale.to_owned(), refused: refused.to_owned(), invalid: invalid.to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_sentence_means_what_roundcube_said_it_means() {
    let wordings = Wordings::read(&mut section("locked_texts = ['Gesperrt']"));
    wordings.learn(lesson("de_DE", "Nein", "Ungültig"));
    wordings.learn(lesson("broken", "Same", "Same"));
    wordings.learn(lesson("silent", "", ""));
    for (message, locale, meaning) in [
        ("Login failed.", "de_DE", "Credentials"),
        ("Gesperrt", "fr_FR", "locked"),
        ("Nein", "de_DE", "Credentials"),
        ("Nein", "fr_FR", "unknown"),
        ("Ungültig", "de_DE", "locked"),
        ("Server weg", "de_DE", "unknown"),
        ("Same", "broken", "unknown"),
        ("", "silent", "unknown"),
    ] {
        assert_eq!(told(&wordings.meaning(message, locale)), meaning, "{message} in {locale}");
    }
    assert!(wordings.may_ask("fr_FR") && !wordings.may_ask("de_DE"));
    tokio::time::advance(Duration::from_secs(601)).await;
    assert!(wordings.may_ask("de_DE"), "an update may have changed the wording");
}

#[test]
fn what_comes_within_a_second_never_reached_the_mail_server() {
    assert!(matches!(wording::judge_by_time(Duration::from_millis(100)), Outage::Locked { .. }));
    assert!(matches!(wording::judge_by_time(Duration::from_millis(1010)), Outage::Unreachable(_)));
}
