//! Files of an example where a real server finds them.

use std::path::{Path, PathBuf};

use keyward::demo::process::{Workspace, find_program};

/// Writes them all.
pub fn write(folder: &Workspace, files: &[(String, String)]) {
    for (path, text) in files {
        let path = Path::new(path);
        let parent = path.parent().map_or("", |parent| parent.to_str().unwrap());
        let folder = folder.directory(parent).unwrap();
        folder.write(path.file_name().unwrap().to_str().unwrap(), text).unwrap();
    }
}

/// A server that must be there.
pub fn program(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| panic!("{name} is not installed; tests/run installs it"))
}

/// A text in another's place, where it must be this often.
pub fn replace(text: &mut String, from: &str, to: &str, times: usize) {
    assert_eq!(text.matches(from).count(), times, "{from} in the example");
    *text = text.replace(from, to);
}
