//! The arrows between the rooms, read from the source. A new arrow is a deliberate edit here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom, beside `domain` and `observe`, which everybody may. `*` is everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("app", &["*"]),
    ("demo", &["*"]),
    ("transport", &["decision", "handover", "accounts", "pages"]),
    ("decision", &["portal", "keys", "inject", "backend"]),
    ("handover", &["portal", "keys", "backend", "store"]),
    ("accounts", &["keys", "backend"]),
    ("keys", &["portal", "backend", "store"]),
    ("portal", &["config", "wire", "pages", "store"]),
    ("backend", &["config", "wire", "store"]),
    ("store", &["config"]),
    ("wire", &["config"]),
    ("pages", &["config"]),
    ("inject", &[]),
    ("snippet", &["config"]),
    ("config", &[]),
    ("observe", &[]),
    ("domain", &[]),
];
/// Rooms that everybody may use. `domain` itself uses nobody.
const FOR_ALL: [&str; 2] = ["domain", "observe"];
/// Rooms that may know the web framework.
const WIRE_ROOMS: [&str; 3] = ["transport", "app", "demo"];

/// Files that may name one of the kinds all the same. The paths by which a portal's host finds us are, where
/// nobody sets them, those of the one host whose protocol it is; and a client could say an application's own header
/// through any web server, whatever is behind it.
const MAY_NAME: &[(&str, &str)] = &[
    ("portal/one_time_token/settings.rs", "epixel"),
    ("snippet/clients.rs", "axigen"),
    ("snippet/traefik.rs", "axigen"),
];

/// Kinds that are no webmail, but a way to describe one, in a word that stands everywhere.
const NO_WEBMAILS: [&str; 1] = ["form"];

/// The tables of kinds: the program's own, and nginx's, which has a file for each.
const TABLES: [&str; 2] = ["backend/mod.rs", "snippet/nginx/files.rs"];

struct Source {
    room: String,
    /// Relative to `src`.
    path: String,
    /// Without comments and test modules.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = entries.collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let is_test = relative.ends_with("/tests.rs") || relative.contains("/tests/");
            if let Some((room, _)) = relative.split_once('/').filter(|_| relative.ends_with(".rs") && !is_test) {
                let code = code_of(&fs::read_to_string(&path).unwrap());
                sources.push(Source { room: room.to_owned(), path: relative, code });
            }
        }
    }
    assert!(sources.len() > 20, "the source was not found");
    sources
}

/// The source without comments, and without the tests that stand at its end.
fn code_of(text: &str) -> String {
    let end = text.match_indices("#[cfg(test)]").find(|(at, _)| tests_follow(&text[*at..])).map(|(at, _)| at);
    let code = &text[..end.unwrap_or(text.len())];
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Whether a module in braces follows, whatever other attributes stand in between.
fn tests_follow(text: &str) -> bool {
    let mut lines = text.lines().skip_while(|line| line.starts_with("#["));
    lines.next().is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
}

/// The rooms that a source names: `crate::room`, and each of `crate::{one::X, two::Y}`.
fn rooms_named(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            rooms.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (index, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && depth == 0 && !c.is_whitespace() => {
                    rooms.push(word(&list[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    for source in sources() {
        let allowed = ARROWS.iter().find(|(room, _)| *room == source.room);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("src/{} is a room without a line in ARROWS", source.room));
        for named in rooms_named(&source.code) {
            let own = named == source.room;
            let for_all = FOR_ALL.contains(&named.as_str()) && source.room != "domain";
            let in_table = allowed.contains(&"*") || allowed.contains(&named.as_str());
            assert!(own || for_all || in_table, "src/{} uses crate::{named}", source.path);
        }
    }
}

#[test]
fn no_room_below_transport_knows_the_web_framework() {
    for source in sources().iter().filter(|source| !WIRE_ROOMS.contains(&source.room.as_str())) {
        assert!(!source.code.contains("actix"), "src/{} names actix", source.path);
    }
}

#[test]
fn a_webmails_name_stands_in_its_own_files_and_in_the_table() {
    let kinds: Vec<&str> = keyward::backend::KINDS.iter().map(|kind| kind.name).collect();
    let kinds: Vec<&str> = kinds.into_iter().filter(|kind| !NO_WEBMAILS.contains(kind)).collect();
    for source in sources().iter().filter(|source| source.room != "demo" && !TABLES.contains(&&*source.path)) {
        let code = source.code.to_lowercase();
        for kind in &kinds {
            let file = kind.replace('-', "_");
            let own =
                source.path == format!("backend/{file}.rs") || source.path.starts_with(&format!("backend/{file}/"));
            let named = code.contains(kind) || code.contains(&file);
            let may = MAY_NAME.contains(&(source.path.as_str(), kind));
            assert!(own || may || !named, "src/{} names {kind}", source.path);
        }
    }
}

#[test]
fn imports_are_read_in_every_spelling() {
    let code = code_of(
        "use crate::keys::Cache; // crate::comment\nfn f() { crate::inject::go() }\n/// [`crate::doc`]\n\
         use crate::{\n    portal::{Portal, Kind},\n    config,\n};\n#[cfg(test)]\nmod shared;\n\
         use crate::handover;\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n    use crate::demo;\n}\n",
    );
    assert_eq!(rooms_named(&code), ["keys", "inject", "portal", "config", "handover"]);
}
