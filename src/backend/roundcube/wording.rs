//! What Roundcube means by the sentence under its login form.
//!
//! A wrong password, a mail server that is down and an account locked for a minute are all answered
//! with the same page and status; only a sentence differs, in one of some ninety languages and in
//! the wording of the version at hand. So no sentence is known here but a few English ones.
//! Roundcube is asked instead: an empty name is refused with the very sentence of a wrong password,
//! without the mail server being asked or a failure being counted, and a request without a valid
//! token with that of an invalid request. (Read in the source of 1.6: `index.php`, `rcmail::login`.)

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::backend::{Outage, Refusal};
use crate::config::Section;

/// How long what was learned of a language is not doubted: an update may change the wording.
const LEARN_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Most languages; Roundcube 1.6 has 86. More would be an attack on our memory.
const MOST_LANGUAGES: usize = 200;
/// Roundcube sleeps for a second after the mail server said no or nothing. What comes earlier never
/// got that far. A little less, because the sleep may be cut short by what our clock sees.
const SLEEP: Duration = Duration::from_millis(950);
/// How long Roundcube locks an account after failed logins, at most.
const LOCKED_FOR: Duration = Duration::from_secs(60);

/// Sentences and their meaning, by language.
pub(super) struct Wordings {
    /// `refused_texts`: sentences of a refusal, beside those that are learned; for plug-ins.
    refused: Vec<String>,
    /// `locked_texts`: sentences for an account that is locked for a while.
    locked: Vec<String>,
    learned: Mutex<HashMap<String, (Instant, Lesson)>>,
}

/// What was learned of one language.
pub(super) struct Lesson {
    /// The language of the page, such as `de_DE`.
    pub locale: String,
    /// The sentence of a wrong name or password.
    pub refused: String,
    /// The sentence of a request out of place.
    pub invalid: String,
}

/// What a sentence means.
pub(super) enum Meaning {
    /// This.
    Known(Result<Refusal, Outage>),
    /// Nobody has told yet.
    Unknown,
}

impl Wordings {
    pub(super) fn read(section: &mut Section) -> Self {
        let mut texts = |key, default: &str| section.texts(key).unwrap_or_else(|| vec![default.to_owned()]);
        Self {
            refused: texts("refused_texts", "Login failed."),
            locked: texts("locked_texts", "Too many failed login attempts. Try again later."),
            learned: Mutex::new(HashMap::new()),
        }
    }

    pub(super) fn meaning(&self, message: &str, locale: &str) -> Meaning {
        if self.refused.iter().any(|text| text == message) {
            return Meaning::Known(Ok(Refusal::Credentials));
        }
        if self.locked.iter().any(|text| text == message) {
            return Meaning::Known(Err(Outage::Locked { retry_after: Some(LOCKED_FOR) }));
        }
        match self.learned.lock().get(locale) {
            Some((_, lesson)) if lesson.tells_apart() && message == lesson.refused => {
                Meaning::Known(Ok(Refusal::Credentials))
            }
            // Roundcube says so to a name or password that its own rules forbid (length,
            // `login_username_filter`), but also when it has lost the form's session. Nobody can
            // tell, so it is no refusal, and it may be this person's alone, so it is no outage.
            Some((_, lesson)) if lesson.tells_apart() && message == lesson.invalid => {
                Meaning::Known(Err(Outage::Locked { retry_after: Some(LOCKED_FOR) }))
            }
            _ => Meaning::Unknown,
        }
    }

    /// Whether it is time to ask for the sentences of a language (again).
    pub(super) fn may_ask(&self, locale: &str) -> bool {
        self.learned.lock().get(locale).is_none_or(|(when, _)| when.elapsed() >= LEARN_AGAIN_AFTER)
    }

    pub(super) fn learn(&self, lesson: Lesson) {
        let mut learned = self.learned.lock();
        if learned.len() < MOST_LANGUAGES || learned.contains_key(&lesson.locale) {
            learned.insert(lesson.locale.clone(), (Instant::now(), lesson));
        }
    }
}

impl Lesson {
    /// Two equal sentences would mean that no request is taken, so nothing was learned.
    fn tells_apart(&self) -> bool {
        !self.refused.is_empty() && !self.invalid.is_empty() && self.refused != self.invalid
    }
}

/// What a sentence means that is neither of the two: the mail server did not answer, or Roundcube
/// did not ask it, because the account is locked.
pub(super) fn judge_by_time(took: Duration) -> Outage {
    if took < SLEEP {
        return Outage::Locked { retry_after: Some(LOCKED_FOR) };
    }
    Outage::Unreachable("its mail server does not answer".to_owned())
}
