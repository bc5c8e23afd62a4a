//! What the README, the reference and the examples say is what the program does.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use keyward::backend::KINDS;
use keyward::domain::{Reason, Ruling};
use keyward::handover::WhoAmI;
use keyward::observe::Metrics;
use keyward::snippet::SERVERS;

/// What `check` says of a secret that everybody can read here.
const PUBLISHED: &str = ".secret: is the one from the examples";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn check(file: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_keyward")).args(["check", "-c"]).arg(file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn every_configuration_that_is_shown_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let file = directory.path().join("keyward.toml");
        std::fs::write(&file, block).unwrap();
        let (right, said) = check(&file);
        assert!(right, "{said}{block}");
        assert!(said.contains(PUBLISHED), "{said}{block}");
    }
    let portal = readme.split_once("[[portal]]").unwrap().1.split_once("[[backend]]").unwrap().0;
    let handover = std::fs::read_to_string(root().join("examples/handover/README.md")).unwrap();
    for block in handover.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        let backend = "[[backend]]\nname = \"mail\"\nkind = \"axigen\"\nurl = \"http://127.0.0.1:8000\"";
        let backend = if block.contains("[[backend]]") { "" } else { backend };
        let route = "[[route]]\nhost = \"portal.example.test\"\nportal = \"customer-portal\"\nbackend = \"mail\"";
        let file = directory.path().join("keyward.toml");
        std::fs::write(&file, format!("[[portal]]{portal}\n{backend}\n{block}\n{route}\n")).unwrap();
        let (right, said) = check(&file);
        assert!(right, "{said}{block}");
    }
    for folder in KINDS.iter().map(|kind| kind.name).chain(["introspect", "portal", "portal-api"]) {
        let (right, said) = check(&root().join("examples").join(folder).join("keyward.toml"));
        assert!(right, "{folder}: {said}");
        assert!(said.contains(PUBLISHED), "{folder}: {said}");
    }
    for folder in ["keycloak-openldap", "ldap"] {
        let (right, said) = check(&root().join("examples").join(folder).join("keyward.toml"));
        assert!(right, "{folder}: {said}");
    }
}

/// The one block of settings in an example's README, and its keyward.toml.
fn block_and_whole(folder: &str) -> (String, String) {
    let read = |file| std::fs::read_to_string(root().join("examples").join(folder).join(file)).unwrap();
    let block = read("README.md").split_once("```toml\n").unwrap().1.split_once("```").unwrap().0.to_owned();
    (block, read("keyward.toml"))
}

#[test]
fn what_an_example_says_to_write_in_the_place_of_its_own_is_right_as_well() {
    let (backend, whole) = block_and_whole("keycloak-openldap");
    let (before, after) = whole.split_once("[[backend]]").unwrap();
    let (_, routes) = after.split_once("[[route]]").unwrap();
    let routes = routes.replace("backend = \"axigen\"", "backend = \"roundcube\"");
    let with_roundcube = format!("{before}{backend}\n[[route]]{routes}");
    let (settings, whole) = block_and_whole("ldap");
    let kept: Vec<&str> = whole.lines().filter(|line| !line.starts_with("filter ")).collect();
    let with_active_directory = kept.join("\n").replace("[portal.roles]", &format!("{settings}[portal.roles]"));
    let directory = tempfile::tempdir().unwrap();
    for text in [with_roundcube, with_active_directory] {
        let file = directory.path().join("keyward.toml");
        std::fs::write(&file, &text).unwrap();
        let (right, said) = check(&file);
        assert!(right, "{said}{text}");
    }
}

#[test]
fn the_readme_has_a_row_for_every_kind_and_web_server() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for kind in KINDS {
        let row = format!("| [`{0}`](examples/{0}/) | ", kind.name);
        assert!(readme.contains(&row), "README.md has no row {row}");
    }
    for kind in keyward::portal::KINDS {
        assert!(
            readme.contains(&format!("| `{}` | ", kind.name)),
            "README.md has no row for portals of kind {}",
            kind.name
        );
    }
    for server in SERVERS {
        let cell = format!(" | [`{0}`](examples/{0}/) |", server.name);
        assert!(readme.contains(&cell), "README.md has no row for the web server {}", server.name);
    }
}

#[test]
fn every_file_that_a_readme_links_to_is_there() {
    let mut names = [
        "README.md",
        "conf/README.md",
        "SECURITY.md",
        "examples/container/README.md",
        "examples/systemd/README.md",
        "examples/handover/README.md",
        "examples/introspect/README.md",
        "examples/keycloak-openldap/README.md",
        "examples/kubernetes/README.md",
        "examples/ldap/README.md",
        "examples/portal-api/README.md",
        "examples/portal/README.md",
        "examples/redis/README.md",
    ]
    .map(str::to_owned)
    .to_vec();
    let folders = KINDS.iter().map(|kind| kind.name).chain(SERVERS.iter().map(|server| server.name));
    names.extend(folders.map(|folder| format!("examples/{folder}/README.md")));
    for name in names {
        let file = root().join(&name);
        let text = std::fs::read_to_string(&file).unwrap();
        let links = text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap());
        for link in links.filter(|link| !link.contains("://") && !link.is_empty()) {
            assert!(file.parent().unwrap().join(link).exists(), "{name} links to {link}");
        }
    }
}

#[test]
fn the_page_that_log_out_ends_at_is_one_that_keyward_goes_to() {
    let site = std::fs::read_to_string(root().join("examples/nginx/site.conf")).unwrap();
    let after = site.split_once("$keyward_signed_out {\n    default ").unwrap().1;
    let address = after.split_once(';').unwrap().0;
    for kind in KINDS {
        let file = root().join("examples").join(kind.name).join("keyward.toml");
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("return_to = [\"{address}\"]")), "{} goes elsewhere", kind.name);
    }
}

/// The rows of the reference's table under a heading with this beginning: in each cell, the words
/// between backticks.
fn table(heading: &str) -> Vec<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(root().join("conf/README.md")).unwrap();
    let after = text.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let section = after.split("\n## ").next().unwrap();
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(words).collect()).collect()
}

#[test]
fn the_reference_names_every_reason_with_its_decisions() {
    let told: Vec<(Vec<String>, Vec<String>)> =
        table("Reasons").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let word = |ruling: &Ruling| ruling.as_str().to_owned();
    let true_ones: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| (vec![reason.as_str().to_owned()], reason.rulings().iter().map(word).collect()))
        .collect();
    assert_eq!(told, true_ones);
}

#[test]
fn the_reference_names_every_metric_with_its_labels() {
    let rows = table("Metrics");
    let told = rows.iter().map(|row| (row[0][0].clone(), row[1].iter().cloned().collect()));
    let told: BTreeMap<String, BTreeSet<String>> = told.collect();
    assert_eq!(rows.len(), told.len(), "each has one row");
    let metrics = Metrics::new();
    let (_portal, backend) = (metrics.portal("customers"), metrics.backend("mail"));
    backend.show_logouts(true);
    backend.show_account_changes();
    let (_store, _journal) = (metrics.store(), metrics.journal());
    let text = metrics.render();
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let labels = |name: &str| -> BTreeSet<String> {
        let of_it = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ', '_']);
        let series = text.lines().find(of_it).unwrap();
        let Some((_, labels)) = series.split_once('{') else { return BTreeSet::new() };
        let names = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name.to_owned());
        names.filter(|name| name != "le").collect()
    };
    let true_ones: BTreeMap<String, BTreeSet<String>> = names.map(|name| (name.to_owned(), labels(name))).collect();
    assert_eq!(told, true_ones);
}

#[test]
fn the_reference_names_every_field_of_whoami() {
    let person = WhoAmI {
        portal: String::new(),
        user: String::new(),
        name: String::new(),
        email: String::new(),
        groups: Vec::new(),
        expires: 0,
        backends: Vec::new(),
    };
    let person = serde_json::to_value(&person).unwrap();
    let fields: BTreeSet<String> = person.as_object().unwrap().keys().cloned().collect();
    assert_eq!(table("Pages").into_iter().flat_map(|row| row[0].clone()).collect::<BTreeSet<_>>(), fields);
}

fn sources() -> Vec<String> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.extension() {
                _ if entry.is_dir() => folders.push(entry),
                Some(ending) if ending == "rs" => sources.push(std::fs::read_to_string(entry).unwrap()),
                _ => {}
            }
        }
    }
    sources
}

#[test]
fn every_log_line_of_the_reference_is_written_somewhere_with_its_fields() {
    let sources = sources();
    for row in table("Log lines") {
        let message = &row[0][0];
        let source = sources.iter().find(|source| source.contains(&format!("\"{message}\"")));
        let source = source.unwrap_or_else(|| panic!("nobody writes {message:?}"));
        for field in &row[2] {
            assert!(source.contains(field), "{message:?} comes without {field}");
        }
    }
}

#[test]
fn the_reference_names_every_log_line() {
    let named: BTreeSet<String> = table("Log lines").into_iter().map(|row| row[0][0].clone()).collect();
    let mut written = 0;
    for source in sources() {
        for rest in source.split("tracing::").skip(1) {
            let Some((level, arguments)) = rest.split_once("!(") else { continue };
            if !["error", "warn", "info", "debug", "trace"].contains(&level) {
                continue;
            }
            let texts = texts_of(arguments);
            assert!(texts.iter().any(|text| named.contains(text)), "conf/README.md has no line for {texts:?}");
            written += 1;
        }
    }
    assert!(written > 40, "only {written} were found");
}

/// The texts in quotes up to the end of a macro's arguments.
fn texts_of(arguments: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut depth = 1_i32;
    for (index, piece) in arguments.split('"').enumerate() {
        if index % 2 == 1 {
            texts.push(piece.to_owned());
            continue;
        }
        for character in piece.chars() {
            depth += i32::from(character == '(') - i32::from(character == ')');
            if depth == 0 {
                return texts;
            }
        }
    }
    texts
}
