//! `[store]`.

use super::link::{Access, LinkTerms, terms};
use super::names::Names;
use super::ring::{Ring, RingKey};
use crate::config::Section;
use crate::domain::key_material;

/// A store that is configured, before anybody was contacted.
pub struct StorePlan {
    pub(super) terms: LinkTerms,
    pub(super) access: Access,
    pub(super) names: Names,
    pub(super) ring: Ring,
    pub(super) when_down: WhenDown,
}

/// What people are told who would have to be signed in while the store cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenDown {
    /// That they are to come back in a moment.
    Refuse,
    /// They are signed in by this replica alone.
    Login,
}

impl StorePlan {
    /// Reads `[store]`; `None` where its kind is `memory`, or after a mistake.
    #[must_use]
    pub fn read(mut section: Section) -> Option<Self> {
        let is_redis = section.choice("kind", false, &[("memory", false), ("redis", true)]);
        if !is_redis {
            section.finish();
            return None;
        }
        let link = terms::read(&mut section);
        let when_down =
            section.choice("when_down", WhenDown::Refuse, &[("refuse", WhenDown::Refuse), ("login", WhenDown::Login)]);
        let names = read_names(&mut section);
        let ring = read_ring(&mut section);
        section.finish();
        let (terms, access) = link?;
        Some(Self { terms, access, names: names?, ring, when_down })
    }
}

fn read_names(section: &mut Section) -> Option<Names> {
    let place = if section.has("names_secret_file") { "names_secret_file" } else { "names_secret" };
    let given = section.has("names_secret") || section.has("names_secret_file");
    match section.secret("names_secret", "names_secret_file").map(|secret| key_material(&secret)) {
        Some(Ok(material)) => return Some(Names::new(&material)),
        Some(Err(error)) => section.mistake(place, &error.to_string()),
        None if !given => section.mistake(place, "is missing; give names_secret or names_secret_file"),
        // What was given is a mistake, and it is noted.
        None => {}
    }
    None
}

fn read_ring(section: &mut Section) -> Ring {
    let mut keys: Vec<RingKey> = Vec::new();
    let entries = section.sections("key", "id");
    if entries.is_empty() {
        section.mistake("key", "is missing; write [[store.key]] with id and secret, or nothing can be sealed");
    }
    let mut ids = Vec::new();
    for mut entry in entries {
        let id = entry.required("id");
        if let Some(index) = ids.iter().position(|other| *other == id) {
            entry.used_before("id", index);
        }
        ids.push(id);
        let place = if entry.has("secret_file") { "secret_file" } else { "secret" };
        let given = entry.has("secret") || entry.has("secret_file");
        match entry.secret("secret", "secret_file").map(|secret| RingKey::new(&secret)) {
            Some(Ok(key)) if keys.iter().any(|other| other.is(&key)) => {
                entry.mistake(place, "is used by another key, too; give each its own");
            }
            Some(Ok(key)) => keys.push(key),
            Some(Err(error)) => entry.mistake(place, &error.to_string()),
            None if !given => entry.mistake("secret", "is missing; give secret or secret_file"),
            None => {}
        }
        entry.finish();
    }
    Ring::new(keys)
}
