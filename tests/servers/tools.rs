//! Where programs are that no package of the system has.

use std::path::{Path, PathBuf};

use keyward::demo::process::find_program;

/// A program by its name: from the search path, else where `tests/run` puts it.
pub fn tool(name: &str) -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(name).join("bin").join(name);
    let found = if ours.is_file() { Some(ours) } else { find_program(name) };
    found.unwrap_or_else(|| panic!("{name} is missing; tests/run installs it"))
}
