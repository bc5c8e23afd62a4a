//! The `keyward` program. Everything is in the library.

use std::process::ExitCode;

/// Small pieces of memory come and go with every decision, on whichever thread it happens to be asked: what this one is
/// made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keyward::app::main()
}
