//! What several benches need: the servers and what they cost, the people and what is asked for them, the back-end that
//! they are signed in to, and figures.

pub mod connections;
mod fastcgi;
pub mod figures;
pub mod load;
pub mod servers;
pub mod turn;
pub mod webmail;

/// Whether this bench is to measure, as `cargo bench` with these arguments tells it. `cargo test --benches` only wants
/// to know that it starts.
pub fn is_asked(arguments: &str) -> bool {
    let is_asked = std::env::args().any(|argument| argument == "--bench");
    if !is_asked {
        println!("run it with `cargo bench {arguments}`");
    }
    is_asked
}

/// Names another program than this build's to be measured.
const PROGRAM: &str = "KEYWARD_PROGRAM";

/// The program that is measured.
pub fn program() -> String {
    std::env::var(PROGRAM).unwrap_or_else(|_| env!("CARGO_BIN_EXE_keyward").to_owned())
}
