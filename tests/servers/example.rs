//! The files of `examples/<server>/`, with addresses of their own.

use std::path::{Path, PathBuf};

use keyward::demo::process::free_address;

use crate::browser::HOST;
use crate::support::SCRIPT_COOKIES;
use crate::web_server::Places;
use crate::world::PORTAL;

/// A folder below `examples/`.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Every file of an example, by its path below the folder, with the addresses of this test.
pub fn files(name: &str, places: &Places) -> Vec<(String, String)> {
    let root = folder(name);
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(&root).unwrap().display().to_string(), replaced(&text, places)));
        }
    }
    found.sort();
    found
}

/// A text with the addresses of this test in place of those of an example.
pub fn replaced(text: &str, places: &Places) -> String {
    let pairs = [
        ("127.0.0.1:8080", places.public),
        ("127.0.0.1:8420", places.auth),
        ("127.0.0.1:8421", places.fastcgi),
        ("127.0.0.1:8422", places.grpc),
        ("127.0.0.1:8000", places.application),
    ];
    pairs.iter().fold(text.to_owned(), |text, (ours, theirs)| text.replace(ours, &theirs.to_string()))
}

/// The example's `keyward.toml`, with routes before its own for what every web server is asked.
pub fn config(name: &str, places: &Places) -> String {
    let own = folder(name).join("keyward.toml");
    // That of nginx has other applications as well.
    let path = if name == "nginx" { folder("axigen").join("keyward.toml") } else { own };
    let text = replaced(&std::fs::read_to_string(path).unwrap(), places);
    // No web server has to do with the portals' API.
    let text = text.replace("127.0.0.1:8423", &free_address().unwrap().to_string());
    assert!(text.contains(PORTAL.secret) && text.contains(PORTAL.cookie), "examples/{name} has another portal");
    let backend = backend(&text);
    let at = text.find("[[route]]").unwrap();
    format!("{}{}{}", &text[..at], routes(backend), &text[at..])
}

/// The name of the only back-end.
fn backend(text: &str) -> &str {
    let (_, backend) = text.split_once("[[backend]]").unwrap();
    let name = backend.lines().find(|line| line.starts_with("name")).unwrap();
    name.split('"').nth(1).unwrap()
}

fn routes(backend: &str) -> String {
    let portal = PORTAL.name;
    let route = |path: &str, rest: &str| {
        format!("[[route]]\nhost = \"{HOST}\"\npath = \"{path}\"\nbackend = \"{backend}\"\n{rest}\n")
    };
    [
        route("/public", "public = true"),
        route("/admin", &format!("portal = \"{portal}\"\nroles = [\"admin\"]")),
        format!("[[route]]\nhost = \"{HOST}\"\npath = \"/gate\"\nportal = \"{portal}\"\n"),
    ]
    .concat()
}

/// The same portal and host before an application of kind `form`, two of whose cookies scripts read.
pub fn form(name: &str, places: &Places) -> String {
    let text = config(name, places);
    let (name, url) = (backend(&text), places.application);
    let application =
        format!("[[backend]]\nname = \"{name}\"\nkind = \"form\"\nurl = \"http://{url}\"\n{SCRIPT_COOKIES}\n");
    let first = text.find("[[backend]]").unwrap();
    let rest = &text[first + 1..];
    // The others stay where they are.
    let next = ["[[backend]]", "[[route]]"].iter().filter_map(|start| rest.find(start)).min().unwrap();
    format!("{}{application}{}", &text[..first], &rest[next..])
}
