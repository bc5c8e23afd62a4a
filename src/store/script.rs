use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use sha1::{Digest, Sha1};

/// Several steps that the server runs as one. Its keys all belong to one place, so that it runs in a Cluster as well.
///
/// In the script `KEYS` are the keys below, in their order, and `ARGV` what it is called with. It answers with a list
/// of texts and whole numbers; `false` stands for nothing.
pub struct Script {
    pub(super) keys: &'static [&'static str],
    pub(super) code: String,
    /// By which a server knows a script that it ran before.
    pub(super) hash: String,
}

impl Script {
    /// A script on these keys of its place.
    #[must_use]
    pub fn new(keys: &'static [&'static str], code: &str) -> Self {
        let mut hash = String::new();
        for byte in Sha1::digest(code.as_bytes()) {
            // Writing to memory does not fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Self { keys, code: code.to_owned(), hash }
    }
}

/// What a script answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    items: Vec<Option<Vec<u8>>>,
    took: Duration,
}

impl Answer {
    /// An answer that came so long after the question.
    #[must_use]
    pub const fn new(items: Vec<Option<Vec<u8>>>, took: Duration) -> Self {
        Self { items, took }
    }

    /// How long it took from the question to the answer. The script ran some time in between.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.took
    }

    /// The text at this index, if there is one.
    #[must_use]
    pub fn bytes(&self, index: usize) -> Option<&[u8]> {
        self.items.get(index)?.as_deref()
    }

    /// The word at this index; empty where there is none.
    #[must_use]
    pub fn word(&self, index: usize) -> &str {
        self.bytes(index).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The number at this index, if there is one.
    #[must_use]
    pub fn number(&self, index: usize) -> Option<u64> {
        self.word(index).parse().ok()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

pub(super) static PUT: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["v"], "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return {1}"));
pub(super) static PUT_NEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&["v"], "return {redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0}")
});
pub(super) static GET: LazyLock<Script> = LazyLock::new(|| Script::new(&["v"], "return {redis.call('GET', KEYS[1])}"));
pub(super) static TAKE: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["v"], "return {redis.call('GETDEL', KEYS[1])}"));
