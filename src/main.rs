//! The `keyward` program. Everything is in the library.

use std::process::ExitCode;

/// A decision makes and frees small pieces of memory, on whichever thread it happens to be asked; `benches/README.md` has
/// the figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keyward::app::main()
}
