//! From a file to the parts that answer requests.

use std::path::Path;
use std::sync::Arc;

use crate::backend::BackendPlan;
use crate::config::{Document, Draft, Mistake, Mistakes, RouteSettings, Settings};
use crate::domain::{Clock, CredentialSource, UrlKey};
use crate::pages::Pages;
use crate::portal::{PortalPlan, Sessions};
use crate::store::StorePlan;
use crate::wire::Errands;

/// Everything that a configuration describes, ready to be wired. Nothing was contacted yet, and
/// nothing that runs knows of it.
pub struct Parts {
    /// What needs no kind to be understood.
    pub settings: Settings,
    /// The portals, in the order of the file.
    pub portals: Vec<PortalPlan>,
    /// The back-ends, in the order of the file.
    pub backends: Vec<BackendPlan>,
    /// What people are shown.
    pub pages: Arc<Pages>,
    /// What replicas share, where there are several.
    pub store: Option<StorePlan>,
    /// What the operator should hear of, although all of it is right.
    pub warnings: Vec<Mistake>,
}

/// Reads a configuration and builds its parts.
///
/// # Errors
/// Every mistake there is, those of the kinds' own settings included.
pub fn read(
    path: &Path,
    clock: &Arc<dyn Clock>,
    sessions: &Arc<Sessions>,
    errands: &Arc<Errands>,
) -> Result<Parts, Vec<Mistake>> {
    let document = Document::load(path).map_err(|mistake| vec![mistake])?;
    let (mut parts, mistakes) = build(document, clock, sessions, errands);
    let file = path.display().to_string();
    parts.warnings.extend(unreachable(&parts, &file));
    parts.warnings.extend(without_tokens(&parts, &file));
    parts.warnings.extend(without_people(&parts, &file));
    parts.warnings.extend(keys_in_addresses(&parts, &file));
    mistakes.unless_any(parts)
}

/// Portals and back-ends that cannot work, because nobody can make the calls that they live on.
fn unreachable(parts: &Parts, file: &str) -> Vec<Mistake> {
    let warning = |key: String, message: &str| Mistake { file: file.to_owned(), key, message: message.to_owned() };
    let has_api = parts.settings.api.is_some();
    let is_told = has_api && !parts.settings.api_keys.is_empty();
    let untold = parts.portals.iter().filter(|portal| portal.registers() && !is_told).map(|portal| {
        let message = "is told of its sessions through the API, and nobody can call it: \
                       write [listen] api and an [[api.key]]";
        warning(format!("portal[{}].kind", portal.name()), message)
    });
    let uncalled = parts.backends.iter().filter(|backend| backend.offers_service() && !has_api).map(|backend| {
        let message = "has the application ask Keyward at each login, and it cannot: write [listen] api";
        warning(format!("backend[{}].kind", backend.name()), message)
    });
    untold.chain(uncalled).collect()
}

/// Back-ends that want an access token, where people come from portals that have none.
fn without_tokens(parts: &Parts, file: &str) -> Vec<Mistake> {
    let gives = |name: &String| parts.portals.iter().any(|portal| portal.name() == name && portal.gives_tokens());
    let wanting = parts.backends.iter().filter(|backend| backend.credentials() == CredentialSource::Token);
    let warning = |backend: &BackendPlan| {
        let mut routes = parts.settings.routes.iter().filter(|route| route.backend.as_deref() == Some(backend.name()));
        let message = "is \"token\", and no portal of its routes has any to give; portals of kind oidc have";
        let key = format!("backend[{}].credentials", backend.name());
        let none_gives = !routes.any(|route| route.portals.iter().any(gives));
        none_gives.then(|| Mistake { file: file.to_owned(), key, message: message.to_owned() })
    };
    wanting.filter_map(warning).collect()
}

/// Routes that put a key into the address where there is none, or where it should be in nobody's.
fn keys_in_addresses(parts: &Parts, file: &str) -> Vec<Mistake> {
    let warning = |(index, route): (usize, &RouteSettings)| {
        let backend = parts.backends.iter().find(|backend| route.backend.as_deref() == Some(backend.name()))?;
        let message = match (route.url_key, backend.has_query_key()) {
            (UrlKey::Address, false) => "is \"address\", and the back-end has no key in the query; leave it out",
            (UrlKey::Address, true) if backend.opens_by_query() => {
                "puts a key into the address that opens the session of its owner for whoever sees it; \
                 have a web server that can change a query do that, and leave it out"
            }
            _ => return None,
        };
        let key = format!("route[{}].url_key", index + 1);
        Some(Mistake { file: file.to_owned(), key, message: message.to_owned() })
    };
    parts.settings.routes.iter().enumerate().filter_map(warning).collect()
}

/// Portals whose new passwords are to be set in a directory, and that are not there: most likely a slip of the pen.
fn without_people(parts: &Parts, file: &str) -> Vec<Mistake> {
    let is_there = |name: &String| parts.portals.iter().any(|portal| portal.name() == name);
    let keepers = parts.portals.iter().filter_map(PortalPlan::passwords);
    let missing = keepers.flat_map(|keeper| {
        let key = format!("portal[{}].accounts.people_of", keeper.portal());
        let others: Vec<String> = keeper.people_of().iter().filter(|name| !is_there(name)).cloned().collect();
        others.into_iter().map(move |other| (key.clone(), format!("no portal is called {other:?}")))
    });
    missing.map(|(key, message)| Mistake { file: file.to_owned(), key, message }).collect()
}

fn build(
    document: Document,
    clock: &Arc<dyn Clock>,
    sessions: &Arc<Sessions>,
    errands: &Arc<Errands>,
) -> (Parts, Mistakes) {
    let Draft { settings, portals, backends, pages, store, mistakes } = Draft::read(document);
    let (pages, store) = (Pages::read(pages), StorePlan::read(store));
    let portal = |portal| PortalPlan::read(portal, sessions, errands, &pages, clock);
    let portals = portals.into_iter().filter_map(portal).collect();
    let backends = backends.into_iter().filter_map(|backend| BackendPlan::read(backend, clock)).collect();
    (Parts { settings, portals, backends, pages, store, warnings: mistakes.warnings() }, mistakes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::backend;
    use crate::domain::{BackendLimits, LoginName, ManualClock};
    use crate::portal;

    const REFERENCE: &str = include_str!("../../conf/keyward.toml");

    fn build_text(text: &str) -> (Parts, Mistakes) {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        build(Document::parse("keyward.toml", text).unwrap(), &clock, &Sessions::new(0), &Errands::new())
    }

    /// The reference with this kind of back-end in place of its own, and all that it says of the kind.
    fn reference_with(kind: &str) -> String {
        let block = block_from(&format!("# kind = {kind:?}"));
        let (keys, tables) = block.split_at(block.find("\n[").map_or(block.len(), |at| at + 1));
        let text = REFERENCE.replacen("kind = \"axigen\"", keys, 1);
        text.replacen("\n[[route]]\n", &format!("\n{tables}\n[[route]]\n"), 1)
    }

    /// What is switched off in the reference from this line to the next empty one, switched on.
    fn block_from(start: &str) -> String {
        let block = REFERENCE.lines().skip_while(|line| *line != start).take_while(|line| !line.is_empty());
        // The same secret again in a file would be a mistake.
        let on = |line: &&str| line.starts_with("# [") || key_of(line).is_some_and(|(key, _)| !key.ends_with("_file"));
        let block: Vec<&str> = block.filter(on).map(|line| &line[2..]).collect();
        assert!(!block.is_empty(), "the reference has no line {start}");
        block.join("\n")
    }

    /// Every key that any kind of back-end or portal reads.
    fn known() -> BTreeSet<String> {
        let texts = backend::KINDS.iter().map(|kind| reference_with(kind.name));
        let texts = texts.chain(portal::KINDS.iter().map(|kind| reference_with_portal(kind.name)));
        let with_api = format!("{REFERENCE}\n{}", block_from("# [[api.key]]"));
        let derived = REFERENCE.replace("credentials = \"portal\"", "credentials = \"derived\"");
        let derived =
            derived.replace("\n[[route]]\n", &format!("\n{}\n[[route]]\n", block_from("# [[backend.derive]]")));
        texts
            .chain([with_api, derived, reference_with_store()])
            .flat_map(|text| build_text(&text).1.known_keys())
            .collect()
    }

    /// The reference with a store that replicas share, all of whose keys have a meaning.
    fn reference_with_store() -> String {
        let block = block_from("# kind = \"redis\"").replace("mode = \"single\"", "mode = \"sentinel\"");
        REFERENCE.replacen("kind = \"memory\"", &block, 1)
    }

    /// The reference with this kind of portal in place of its own, likewise.
    fn reference_with_portal(kind: &str) -> String {
        if kind == "ticket" {
            return REFERENCE.to_owned();
        }
        let (before, portal) = REFERENCE.split_once("\n[[portal]]\n").unwrap();
        let (_, after) = portal.split_once("\n# A back-end:").unwrap();
        let common = portal.lines().take_while(|line| !line.starts_with("[[portal.key]]"));
        let common: Vec<&str> =
            common.filter(|line| !line.starts_with("cookie =") && !line.starts_with("kind =")).collect();
        let block = block_from(&format!("# kind = {kind:?}"));
        format!("{before}\n[[portal]]\n{}\n{block}\n# A back-end:{after}", common.join("\n"))
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
        for kind in portal::KINDS {
            let (parts, mistakes) = build_text(&reference_with_portal(kind.name));
            assert_eq!(mistakes.all(), [], "{}", kind.name);
            assert_eq!(parts.portals.len(), 1);
        }
        let (parts, mistakes) = build_text(&reference_with_store());
        assert_eq!(mistakes.all(), []);
        assert!(parts.store.is_some());
    }

    #[test]
    fn the_reference_names_every_key_there_is() {
        let named = named();
        for key in known() {
            let written = named.contains(&(key.clone(), true)) || named.contains(&(key.clone(), false));
            assert!(written, "conf/keyward.toml has no line for {key}");
        }
    }

    #[test]
    fn the_reference_names_no_key_that_is_not_there() {
        let known = known();
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
        assert_eq!(route.url_key, UrlKey::default());
        assert!(!route.authorization && reference.portals[0].roles.is_empty());
        // What is switched off could say anything, so only what needs another setting may be off.
        let may_be_off = |key: &str| {
            ["api", "pages", "portal", "backend", "route", "store"].contains(&key.split('.').next().unwrap_or_default())
                || key.ends_with("_mode")
        };
        for (key, on) in named() {
            assert!(on || may_be_off(&key), "conf/keyward.toml has {key} switched off");
        }
    }

    #[test]
    fn who_must_be_called_and_cannot_be_is_named() {
        let warned = |text: &str| -> Vec<String> {
            let warnings = unreachable(&build_text(text).0, "k.toml");
            warnings.iter().map(|warning| warning.to_string().split(": ").nth(1).unwrap().to_owned()).collect()
        };
        let off = "[listen]\napi = \"off\"\n";
        let on = "[listen]\napi = \"127.0.0.1:8423\"\n";
        let secret = "0".repeat(32);
        let key = format!("[[api.key]]\ncaller = \"p\"\nsecret = \"{secret}\"\n");
        let registered = "[[portal]]\nname = \"p\"\nkind = \"registered\"\ncookie = \"c\"\n\
                          login_url = \"https://p.test/{url}\"\n[[route]]\nhost = \"h\"\nportal = \"p\"\n";
        let service = format!(
            "[[backend]]\nname = \"b\"\nkind = \"epixel\"\nurl = \"http://b\"\ncredentials = \"none\"\n\
             [[backend.key]]\nsecret = \"{secret}\"\n"
        );
        for (parts, expected) in [
            (&[off, registered, &service][..], &["portal[p].kind", "backend[b].kind"][..]),
            (&[on, registered, &service], &["portal[p].kind"]),
            (&[off, &key, registered], &["portal[p].kind"]),
            (&[on, &key, registered, &service], &[]),
        ] {
            assert_eq!(warned(&parts.concat()), expected, "{parts:?}");
        }
    }

    #[test]
    fn a_back_end_that_wants_tokens_is_named_where_nobody_has_any() {
        let backend = |surface: &str, credentials: &str| {
            format!(
                "[[backend]]\nname = \"b\"\nkind = \"axigen\"\nurl = \"http://b\"\n\
                 surface = \"{surface}\"\ncredentials = \"{credentials}\"\n"
            )
        };
        let portal = "[[portal]]\nname = \"p\"\nkind = \"registered\"\ncookie = \"c\"\n\
                      login_url = \"https://p.test/{url}\"\n\
                      [[route]]\nhost = \"h\"\nportal = \"p\"\nbackend = \"b\"\n";
        for (surface, credentials, warnings, mistakes) in [
            ("mailbox-api", "token", 1, 0),
            ("mailbox-api", "portal", 0, 0),
            ("legacy", "token", 1, 1),
            ("legacy", "portal", 0, 0),
        ] {
            let (parts, found) = build_text(&format!("{}{portal}", backend(surface, credentials)));
            let told = (without_tokens(&parts, "k.toml").len(), found.all().len());
            assert_eq!(told, (warnings, mistakes), "{surface} {credentials}: {:?}", found.all());
        }
        for kind in backend::KINDS.iter().filter(|kind| kind.name != "axigen") {
            let text = reference_with(kind.name).replace("credentials = \"portal\"", "credentials = \"token\"");
            let found: Vec<String> = build_text(&text).1.all().iter().map(ToString::to_string).collect();
            let told =
                found.iter().any(|line| line.contains("backend[mail].credentials") && line.contains("takes none"));
            assert!(told, "{}: {found:?}", kind.name);
        }
    }

    #[test]
    fn a_key_in_the_address_is_named_where_there_is_none_and_where_it_is_too_much() {
        let described = include_str!("../../tests/conformance/form/url_key.toml").split_once("[[backend]]").unwrap().1;
        let form = format!("kind = \"form\"\n{described}");
        let bare = form.replace("cookies       = [\"_hmail\"]", "");
        for (backend, url_key, expected) in [
            ("kind = \"axigen\"", "address", None),
            ("kind = \"roundcube\"", "address", Some("has no key in the query; leave it out")),
            ("kind = \"roundcube\"", "upstream", None),
            (&form, "address", None),
            (&bare, "address", Some("for whoever sees it")),
            (&bare, "upstream", None),
        ] {
            let text = format!(
                "[[portal]]\nname = \"p\"\nkind = \"registered\"\ncookie = \"c\"\nlogin_url = \"https://p.test/\"\n\
                 [[route]]\nhost = \"h\"\nportal = \"p\"\nbackend = \"b\"\nurl_key = {url_key:?}\n\
                 [[backend]]\nname = \"b\"\nurl = \"http://b\"\n{backend}\n"
            );
            let (parts, mistakes) = build_text(&text);
            assert_eq!(mistakes.all(), []);
            let warned = keys_in_addresses(&parts, "k.toml");
            let told: Vec<String> = warned.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), usize::from(expected.is_some()), "{backend} {told:?}");
            assert!(told.iter().all(|line| line.starts_with("k.toml: route[1].url_key: ")), "{told:?}");
            assert!(expected.is_none_or(|words| told[0].contains(words)), "{told:?}");
        }
    }

    #[test]
    fn a_portal_that_is_not_there_has_no_people_whose_passwords_are_set() {
        let portal = |others: &str| {
            format!(
                "[[portal]]\nname = \"staff\"\nkind = \"ldap\"\nservers = [\"ldap://127.0.0.1\"]\nbase = \"dc=test\"\n\
                 bind_dn = \"cn=keyward,dc=test\"\nbind_password = \"secret\"\n\
                 [portal.accounts]\npasswords = true\npeople_of = [{others}]\n\
                 [[route]]\nhost = \"h\"\nportal = \"staff\"\n"
            )
        };
        for (others, expected) in [("", None), ("\"staff\"", None), ("\"staff\", \"saff\"", Some("\"saff\""))] {
            let (parts, mistakes) = build_text(&portal(others));
            assert_eq!(mistakes.all(), []);
            let warned = without_people(&parts, "k.toml").iter().map(ToString::to_string).collect::<Vec<_>>();
            let expected =
                expected.map(|other| format!("k.toml: portal[staff].accounts.people_of: no portal is called {other}"));
            assert_eq!(warned, expected.into_iter().collect::<Vec<_>>());
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
