//! Measures a whole Keyward beside a whole nginx that answers `return 200` with a head of the same
//! length: what a decision from the cache costs in processor time, whether that stays the same from
//! one session to a hundred thousand, and what memory a session takes.
//!
//! Every round asks all of them in turn, so that whatever else the machine does touches all alike,
//! and the figures are ratios within one round. `cargo bench --bench side_by_side` runs it; it prints
//! and ends well, whatever it measures. See `benches/README.md`.

#[expect(dead_code, reason = "another bench uses more of it")]
mod load;
#[expect(dead_code, reason = "another bench uses more of it")]
mod servers;

use std::error::Error;
use std::time::Duration;

use keyward::observe::Stopwatch;

use load::{Ask, Connections, Crowd};
use servers::{Keyward, Nginx, Pinning, Process, Shape, Webmail};

/// How many sessions the Keywards hold that are compared.
const SESSIONS: [usize; 3] = [1, 1_000, 100_000];
/// Sessions that are there before memory is looked at, so that what a process needs once is not
/// counted.
const SETTLED: usize = 1_000;
/// Connections that are kept, about what an nginx worker holds to its upstream.
const CONNECTIONS: usize = 32;
/// Requests in a turn. Short turns and many rounds, so that a neighbour who makes noise for a while
/// spoils few ratios and touches both sides of them.
const TURN: usize = 10_000;
/// Names other builds of the program, to be compared with this one; a colon between two.
const OTHERS: &str = "KEYWARD_OTHERS";
const ROUNDS: usize = 61;
/// When no new round begins. Three are run in any case.
const LONGEST: f64 = 120.0;

/// Processor time of a decision against that of nginx.
const RATIO_TARGET: f64 = 1.6;
/// The dearest number of sessions against a single session.
const FLATNESS_TARGET: f64 = 1.2;
/// Bytes of resident memory for each session.
const MEMORY_TARGET: f64 = 600.0;

fn main() -> Result<(), Box<dyn Error>> {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("side_by_side: run it with `cargo bench --bench side_by_side`");
        return Ok(());
    }
    if !Nginx::is_installed() {
        println!("side_by_side: there is no nginx to compare with; nothing was measured");
        return Ok(());
    }
    let stopwatch = Stopwatch::start();
    let pinning = Pinning::take();
    let workspace = tempfile::tempdir()?;
    let webmail = Webmail::start()?;
    let crowd = Crowd::of(SESSIONS[2])?;

    let mut sides = Vec::new();
    let mut memory = 0.0;
    for sessions in SESSIONS {
        let keyward =
            Keyward::start(env!("CARGO_BIN_EXE_keyward"), workspace.path(), &webmail, &pinning, &Shape::default())?;
        let mut connections = Connections::open(keyward.process.address, CONNECTIONS)?;
        connections.ask(&crowd, 0..sessions.min(SETTLED), Ask::ForKeys)?;
        if sessions > SETTLED {
            let before = keyward.process.resident_bytes()?;
            connections.ask(&crowd, SETTLED..sessions, Ask::ForKeys)?;
            let grown = keyward.process.resident_bytes()?.saturating_sub(before);
            memory = ratio(grown as f64, (sessions - SETTLED) as f64);
        }
        sides.push(Side::of(format!("keyward, {sessions} sessions"), sessions, keyward.process));
    }
    let mut others = Vec::new();
    for program in std::env::var(OTHERS).unwrap_or_default().split(':').filter(|path| !path.is_empty()) {
        let keyward = Keyward::start(program, workspace.path(), &webmail, &pinning, &Shape::default())?;
        others.push(Side::of(program.to_owned(), 1, keyward.process));
    }
    let head = Connections::open(sides[0].process.address, 1)?.sample(&crowd)?;
    let nginx = Nginx::start(workspace.path(), &head, &pinning)?;
    let mut reference = Side::of("nginx, return 200".to_owned(), 1, nginx.process);
    println!(
        "{} bytes of request head, {} bytes of answer head from Keyward and {} from nginx; {pinning}",
        crowd.request_bytes(),
        head.len(),
        Connections::open(reference.process.address, 1)?.sample(&crowd)?.len(),
    );

    let mut round = 0;
    while round < ROUNDS && (round < 3 || stopwatch.seconds() < LONGEST) {
        // Whoever comes after somebody else's turn finds cold caches, so every round begins elsewhere.
        let count = 1 + sides.len() + others.len();
        for place in (0..count).map(|place| (place + round) % count) {
            match place.checked_sub(1) {
                None => reference.turn(&crowd, Ask::ForAnything)?,
                Some(place) => {
                    if let Some(side) = sides.iter_mut().chain(&mut others).nth(place) {
                        side.turn(&crowd, Ask::ForKeys)?;
                    }
                }
            }
        }
        round += 1;
    }
    report(&reference, &sides);
    for other in &others {
        let costs = (median(&other.costs), median(&ratios(&sides[0].costs, &other.costs)));
        println!("{}: {:.2}; this build with one session against it: {:.3}", other.name, costs.0, costs.1);
    }
    println!(
        "resident memory for each session: {memory:.0} bytes, of which the keys themselves are {} and the names of \
         the session and the user {}",
        webmail.key_bytes(),
        crowd.name_bytes()
    );
    verdict("bytes for each session", memory, MEMORY_TARGET);
    println!("took {:.0} s", stopwatch.seconds());
    Ok(())
}

/// One of those that are compared.
struct Side {
    name: String,
    sessions: usize,
    process: Process,
    /// Microseconds of processor time for each request, one figure a round.
    costs: Vec<f64>,
}

impl Side {
    const fn of(name: String, sessions: usize, process: Process) -> Self {
        Self { name, sessions, process, costs: Vec::new() }
    }

    fn turn(&mut self, crowd: &Crowd, ask: Ask) -> Result<(), Box<dyn Error>> {
        let mut connections = Connections::open(self.process.address, CONNECTIONS)?;
        // Accepting them is no part of a decision.
        connections.ask(crowd, std::iter::repeat_n(0, CONNECTIONS), ask)?;
        let before = self.process.processor_time()?;
        // Round and round through all sessions, in an order that no cache foresees.
        let step = 7_919;
        let start = self.costs.len() * TURN;
        let whom = (start..start + TURN).map(|turn| turn * step % self.sessions);
        connections.ask(crowd, whom, ask)?;
        let took: Duration = self.process.processor_time()?.saturating_sub(before);
        self.costs.push(took.as_secs_f64() * 1e6 / TURN as f64);
        Ok(())
    }
}

fn report(reference: &Side, sides: &[Side]) {
    println!("\nprocessor time of a request in microseconds, {} rounds of {TURN} requests", reference.costs.len());
    println!("{:<26} {:>7} {:>18} {:>16}", "", "median", "ratio, median", "middle half");
    println!("{:<26} {:>7.2} {:>18}", reference.name, median(&reference.costs), "1");
    for side in sides {
        let ratios = ratios(&side.costs, &reference.costs);
        let half = format!("{:.2} to {:.2}", quantile(&ratios, 0.25), quantile(&ratios, 0.75));
        println!("{:<26} {:>7.2} {:>18.2} {half:>16}", side.name, median(&side.costs), median(&ratios));
    }
    println!();
    for side in sides {
        let what = format!("processor time of a decision against nginx, {}", side.name);
        verdict(&what, median(&ratios(&side.costs, &reference.costs)), RATIO_TARGET);
    }
    let against_first = |side: &Side| median(&ratios(&side.costs, &sides[0].costs));
    let dearest = sides.iter().skip(1).map(against_first).fold(0.0, f64::max);
    verdict("flatness: the dearest number of sessions against one session", dearest, FLATNESS_TARGET);
}

fn verdict(what: &str, measured: f64, target: f64) {
    let met = if measured <= target { "met" } else { "MISSED" };
    println!("{what}: {measured:.2}, target at most {target}: {met}");
}

/// Round by round.
fn ratios(values: &[f64], of: &[f64]) -> Vec<f64> {
    values.iter().zip(of).map(|(value, of)| ratio(*value, *of)).collect()
}

fn ratio(value: f64, of: f64) -> f64 {
    if of > 0.0 { value / of } else { f64::INFINITY }
}

fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or_default()
}
