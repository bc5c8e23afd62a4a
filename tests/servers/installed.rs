//! Real servers with the files of an example.

use std::path::{Path, PathBuf};

use keyward::demo::process::{Address, Process, Workspace, find_program};

use crate::web_server::Places;

/// Writes them all where the server finds them.
pub fn write(folder: &Workspace, files: &[(String, String)]) {
    for (path, text) in files {
        let path = Path::new(path);
        let parent = path.parent().map_or("", |parent| parent.to_str().unwrap());
        let folder = folder.directory(parent).unwrap();
        folder.write(path.file_name().unwrap().to_str().unwrap(), text).unwrap();
    }
}

/// A server that must be there: where `tests/run` puts what no package of the system has, else in the search path.
pub fn program(name: &str) -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(name).join("bin").join(name);
    let found = if ours.is_file() { Some(ours) } else { find_program(name) };
    found.unwrap_or_else(|| panic!("{name} is not installed; tests/run installs it"))
}

/// Starts a program in this folder, and waits until it listens.
pub async fn start(
    name: &'static str,
    program: &Path,
    arguments: &[&str],
    folder: &Workspace,
    places: &Places,
) -> Process {
    let mut process = Process::start(name, program, arguments, folder).unwrap();
    process.ready(&Address::Tcp(places.public)).await.unwrap();
    process
}

/// A text in another's place, where it must be this often.
pub fn replace(text: &mut String, from: &str, to: &str, times: usize) {
    assert_eq!(text.matches(from).count(), times, "{from} in the example");
    *text = text.replace(from, to);
}
