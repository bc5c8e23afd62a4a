//! Asks the linker to pack the addresses that the loader fills in at every start. Unpacked they are 0.9 MiB of the
//! program's file, read at each start and resident ever after; packed they are a hundredth of that.
//!
//! glibc unpacks them from 2.36 on, and older ones refuse such a program. So it is done only where the program
//! is built for the very kind of system that builds it, and that system's glibc is new enough.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if is_release_for_this_system() && glibc_unpacks() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

fn is_release_for_this_system() -> bool {
    let variable = |name| env::var(name).unwrap_or_default();
    variable("PROFILE") == "release"
        && variable("TARGET") == variable("HOST")
        && variable("CARGO_CFG_TARGET_OS") == "linux"
        && variable("CARGO_CFG_TARGET_ENV") == "gnu"
}

/// `getconf` answers `glibc 2.36`, and comes with glibc itself.
fn glibc_unpacks() -> bool {
    let Ok(answer) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let answer = String::from_utf8_lossy(&answer.stdout);
    let version = answer.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    let number = |(major, minor): (&str, &str)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?));
    version.and_then(number).is_some_and(|version| version >= (2, 36))
}
