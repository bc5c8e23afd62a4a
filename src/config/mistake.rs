use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

/// One mistake in the configuration, or one warning of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, or `the environment`.
    pub file: String,
    /// The key with its tables, for example `backend[mail].login_timeout`; a position where the
    /// file could not be parsed; empty where the file itself is the trouble.
    pub key: String,
    /// What is wrong and what to write instead. Never the value of a secret.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.file)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)
    }
}

/// The mistakes of one document, shared by all its sections.
///
/// Portals and back-ends read their own sections long after the rest was read. Whoever holds this
/// sees what all of them noted.
#[derive(Clone, Default)]
pub struct Mistakes(Rc<RefCell<Ledger>>);

#[derive(Default)]
struct Ledger {
    noted: Vec<Mistake>,
    warnings: Vec<Mistake>,
    asked: BTreeSet<String>,
}

impl Mistakes {
    /// All mistakes noted so far, in the order of their discovery.
    #[must_use]
    pub fn all(&self) -> Vec<Mistake> {
        self.0.borrow().noted.clone()
    }

    /// `value`, if nobody noted a mistake.
    ///
    /// # Errors
    /// All mistakes, in the order of their discovery.
    pub fn unless_any<T>(&self, value: T) -> Result<T, Vec<Mistake>> {
        let all = self.all();
        if all.is_empty() { Ok(value) } else { Err(all) }
    }

    /// What may be so and is hardly meant, in the order of its discovery. It refuses nothing.
    #[must_use]
    pub fn warnings(&self) -> Vec<Mistake> {
        self.0.borrow().warnings.clone()
    }

    /// Every key that was asked for so far, whether it was written or not, without the names of
    /// list entries: `backend.login_timeout`.
    #[must_use]
    pub fn known_keys(&self) -> BTreeSet<String> {
        self.0.borrow().asked.clone()
    }

    /// Notes a mistake, unless the same key has one: the second is nearly always the first one's
    /// echo, and it would send the reader to the wrong remedy.
    pub(super) fn note(&self, mistake: Mistake) {
        let mut ledger = self.0.borrow_mut();
        if !ledger.noted.iter().any(|noted| noted.file == mistake.file && noted.key == mistake.key) {
            ledger.noted.push(mistake);
        }
    }

    pub(super) fn warn(&self, warning: Mistake) {
        self.0.borrow_mut().warnings.push(warning);
    }

    pub(super) fn noted_at(&self, key: &str) -> bool {
        self.0.borrow().noted.iter().any(|mistake| mistake.key == key)
    }

    pub(super) fn asked(&self, key: String) {
        self.0.borrow_mut().asked.insert(key);
    }
}
