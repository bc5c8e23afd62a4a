//! What the README and the examples say is what the program does.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

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
    for name in ["axigen", "roundcube"] {
        let (right, said) = check(&root().join("examples").join(name).join("keyward.toml"));
        assert!(right, "{name}: {said}");
        assert!(said.contains(PUBLISHED), "{name}: {said}");
    }
}

#[test]
fn every_file_that_a_readme_links_to_is_there() {
    for name in ["README.md", "examples/nginx/README.md", "examples/axigen/README.md", "examples/roundcube/README.md"] {
        let file = root().join(name);
        let text = std::fs::read_to_string(&file).unwrap();
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.contains("://")) {
            assert!(file.parent().unwrap().join(link).exists(), "{name} links to {link}");
        }
    }
}
