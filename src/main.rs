//! The `keyward` program. Everything is in the library.

use std::process::ExitCode;

/// A decision makes and frees some twenty small pieces of memory, on whichever thread it happens to
/// be asked; `benches/README.md` has the figures. musl's own allocator would be slower still.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keyward::app::main()
}
