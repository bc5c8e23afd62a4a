//! From a file to the parts that answer requests.

use std::path::Path;
use std::sync::Arc;

use crate::backend::BackendPlan;
use crate::config::{Document, Draft, Mistake, Mistakes, Settings};
use crate::domain::Clock;
use crate::portal::PortalPlan;

/// Everything that a configuration describes, ready to be wired. Nothing was contacted yet, and
/// nothing that runs knows of it.
pub struct Parts {
    /// What needs no kind to be understood.
    pub settings: Settings,
    /// The portals, in the order of the file.
    pub portals: Vec<PortalPlan>,
    /// The back-ends, in the order of the file.
    pub backends: Vec<BackendPlan>,
    /// What the operator should hear of, although all of it is right.
    pub warnings: Vec<Mistake>,
}

/// Reads a configuration and builds its parts.
///
/// # Errors
/// Every mistake there is, those of the kinds' own settings included.
pub fn read(path: &Path, clock: &Arc<dyn Clock>) -> Result<Parts, Vec<Mistake>> {
    let document = Document::load(path).map_err(|mistake| vec![mistake])?;
    let (parts, mistakes) = build(document, clock);
    mistakes.unless_any(parts)
}

fn build(document: Document, clock: &Arc<dyn Clock>) -> (Parts, Mistakes) {
    let Draft { settings, portals, backends, mistakes } = Draft::read(document);
    let portals = portals.into_iter().filter_map(PortalPlan::read).collect();
    let backends = backends.into_iter().filter_map(|backend| BackendPlan::read(backend, clock)).collect();
    (Parts { settings, portals, backends, warnings: mistakes.warnings() }, mistakes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::backend;
    use crate::domain::{BackendLimits, CredentialSource};
    use crate::domain::{LoginName, ManualClock};
    use crate::portal;

    const REFERENCE: &str = include_str!("../../conf/keyward.toml");

    fn build_text(text: &str) -> (Parts, Mistakes) {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        build(Document::parse("keyward.toml", text).unwrap(), &clock)
    }

    /// The reference with this kind of back-end in place of its own, and all that it says of the kind
    /// switched on: the lines from `# kind = "…"` to the next empty one.
    fn reference_with(kind: &str) -> String {
        let line = "kind = \"axigen\"";
        let start = format!("\n# kind = {kind:?}\n");
        let (_, block) = REFERENCE.split_once(&start).unwrap_or_else(|| panic!("the reference says nothing of {kind}"));
        let block: Vec<&str> = block.lines().take_while(|line| !line.is_empty()).collect();
        let keys_end = block.iter().position(|line| line.starts_with("# [")).unwrap_or(block.len());
        let (keys, tables) = block.split_at(keys_end);
        // The same secret again in a file would be a mistake.
        let on = |line: &&&str| line.starts_with("# [") || key_of(line).is_some_and(|(key, _)| !key.ends_with("_file"));
        let switched_on = |lines: &[&str]| {
            let lines: Vec<&str> = lines.iter().filter(on).map(|line| &line[2..]).collect();
            lines.join("\n")
        };
        let text = REFERENCE.replacen(line, &format!("kind = {kind:?}\n{}", switched_on(keys)), 1);
        text.replacen("\n[[route]]\n", &format!("\n{}\n[[route]]\n", switched_on(tables)), 1)
    }

    /// A line such as `key = …` or `# key = …`: the key, and whether it is switched on.
    fn key_of(line: &str) -> Option<(&str, bool)> {
        let (line, on) = line.strip_prefix("# ").map_or((line, true), |rest| (rest, false));
        let (key, _) = line.split_once(" = ")?;
        key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some((key, on))
    }

    /// Every key and table that the reference names, with whether it is switched on.
    fn named() -> BTreeSet<(String, bool)> {
        let mut table = String::new();
        let mut named = BTreeSet::new();
        for line in REFERENCE.lines() {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            if bare.starts_with('[') && bare.ends_with(']') {
                table = bare.trim_matches(['[', ']']).to_owned();
                named.insert((table.clone(), !line.starts_with('#')));
            } else if let Some((key, on)) = key_of(line) {
                if key == "kind" {
                    // What a kind knows begins here, after the tables of the kind before.
                    table.truncate(table.find('.').unwrap_or(table.len()));
                }
                named.insert((format!("{table}.{key}"), on));
            }
        }
        named
    }

    #[test]
    fn the_reference_is_right_for_every_kind() {
        for kind in backend::KINDS {
            let (parts, mistakes) = build_text(&reference_with(kind.name));
            assert_eq!(mistakes.all(), [], "{}", kind.name);
            assert_eq!((parts.portals.len(), parts.backends.len()), (1, 1));
        }
        assert_eq!(portal::KINDS.len(), 1, "the reference needs lines for the keys of the new kind of portal");
    }

    #[test]
    fn the_reference_names_every_key_there_is() {
        let named = named();
        for kind in backend::KINDS {
            for key in build_text(&reference_with(kind.name)).1.known_keys() {
                let written = named.contains(&(key.clone(), true)) || named.contains(&(key.clone(), false));
                assert!(written, "conf/keyward.toml has no line for {key}");
            }
        }
    }

    #[test]
    fn the_reference_names_no_key_that_is_not_there() {
        let keys = |kind: &backend::Kind| build_text(&reference_with(kind.name)).1.known_keys();
        let known: BTreeSet<String> = backend::KINDS.iter().flat_map(keys).collect();
        for (key, _) in named() {
            // The operator's own words stand there.
            if !key.starts_with("backend.roles.") {
                assert!(known.contains(&key), "conf/keyward.toml names {key}, which nobody reads");
            }
        }
    }

    #[test]
    fn the_reference_shows_the_defaults() {
        let reference = Draft::read(Document::parse("keyward.toml", REFERENCE).unwrap());
        let empty = Draft::read(Document::parse("empty.toml", "").unwrap());
        assert_eq!(Settings { routes: Vec::new(), ..reference.settings.clone() }, empty.settings);
        let backend = &reference.backends[0];
        assert_eq!(backend.limits, BackendLimits::default());
        assert_eq!((backend.credentials, &backend.login), (CredentialSource::Portal, &LoginName::default()));
        assert!(backend.roles.is_empty());
        let route = &reference.settings.routes[0];
        assert_eq!((route.path.as_str(), route.public, route.methods.len(), route.roles.len()), ("", false, 0, 0));
        // What is switched off could say anything, so only what needs another setting may be off.
        let may_be_off = |key: &str| {
            ["portal", "backend", "route"].contains(&key.split('.').next().unwrap_or_default())
                || key.ends_with("_mode")
        };
        for (key, on) in named() {
            assert!(on || may_be_off(&key), "conf/keyward.toml has {key} switched off");
        }
    }

    #[test]
    fn mistakes_of_all_kinds_come_out_with_all_others() {
        let text = REFERENCE
            .replace("[trust]", "[trust]\nproxy = 1")
            .replace("cookie = \"portal_session\"", "cookie = \"a b\"")
            .replace("id = \"2026a\"", "id = \"2026a\"\nnonsense = 1")
            .replace("max_logins = 8", "max_logins = 8\nnonsense = 1");
        let found: Vec<String> = build_text(&text).1.all().iter().map(ToString::to_string).collect();
        for start in [
            "keyward.toml: trust.proxy: is not a known key",
            "keyward.toml: portal[customer-portal].cookie: must be a cookie name",
            "keyward.toml: portal[customer-portal].key[2026a].nonsense: is not a known key",
            "keyward.toml: backend[mail].nonsense: is not a known key",
        ] {
            assert!(found.iter().any(|line| line.starts_with(start)), "{start} is not in {found:#?}");
        }
        assert_eq!(found.len(), 4, "{found:#?}");
    }
}
