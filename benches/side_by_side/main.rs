//! Measures a whole Keyward beside a whole nginx that answers `return 200` with a head of the same
//! length: what a decision from the cache costs in processor time, whether that stays the same from
//! one session to as many as there are, what the doors cost beside each other, and what memory a
//! session takes.
//!
//! Every round asks all of them in turn, so that whatever else the machine does touches all alike,
//! and the figures are ratios within one round. `cargo bench --bench side_by_side` runs it; it prints
//! and ends well, whatever it measures. See `benches/README.md`.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod common;
mod plot;

use std::error::Error;
use std::path::PathBuf;
use std::rc::Rc;

use keyward::observe::Stopwatch;

use common::connections::{Ask, Connections, Door};
use common::figures::{Spread, at_most, grouped, median, ratio, ratios};
use common::load::{Crowd, many};
use common::servers::{Keyward, Nginx, Pinning, Process, Shape};
use common::turn::{self, CONNECTIONS, TURN};
use common::webmail::Webmail;
use plot::Bar;

/// How many sessions the first Keywards hold that are compared.
const SESSIONS: [usize; 2] = [1, 1_000];
/// Sessions that are there before memory is looked at, so that what a process needs once is not
/// counted.
const SETTLED: usize = 1_000;
/// Names other builds of the program, to be compared with this one; a colon between two.
const OTHERS: &str = "KEYWARD_OTHERS";
/// Names a file for the picture, beside the one under `target`.
const PLOT: &str = "KEYWARD_PLOT";
const ROUNDS: usize = 61;
/// When no new round begins. Three are run in any case.
const LONGEST: f64 = 120.0;

/// Processor time of a decision against that of nginx.
const RATIO_TARGET: f64 = 1.0;
/// The dearest number of sessions against a single session.
const FLATNESS_TARGET: f64 = 1.15;
/// A decision over FastCGI against one over HTTP.
const FASTCGI_TARGET: f64 = 1.2;
/// A decision over a Unix socket against one over TCP.
const UNIX_TARGET: f64 = 1.0;
/// Bytes of resident memory for each session, less those of its keys.
const MEMORY_TARGET: f64 = 400.0;

fn main() -> Result<(), Box<dyn Error>> {
    if !common::is_asked("--bench side_by_side") {
        return Ok(());
    }
    if !Nginx::is_installed() {
        println!("side_by_side: there is no nginx to compare with; nothing was measured");
        return Ok(());
    }
    let stopwatch = Stopwatch::start();
    let most = many()?.max(10 * SETTLED);
    let pinning = Pinning::take();
    let workspace = tempfile::tempdir()?;
    let webmail = Webmail::start()?;
    let crowd = Crowd::of(most)?;
    let start = |program: &str, shape: &Shape<'_>| Keyward::start(program, workspace.path(), &webmail, &pinning, shape);
    let own = common::program();

    let mut sides = Vec::new();
    let (mut memory, mut fastcgi) = (0.0, None);
    for sessions in [SESSIONS[0], SESSIONS[1], most] {
        let Keyward { process, http, fastcgi: door } = start(&own, &Shape::default())?;
        let mut connections = Connections::open(http.clone(), CONNECTIONS)?;
        connections.ask(&crowd, 0..sessions.min(SETTLED), Ask::ForKeys)?;
        if sessions > SETTLED {
            let (before, begun) = (process.resident_bytes()?, stopwatch.seconds());
            connections.ask(&crowd, SETTLED..sessions, Ask::ForKeys)?;
            let grown = process.resident_bytes()?.saturating_sub(before);
            memory = ratio(grown as f64, (sessions - SETTLED) as f64);
            println!("{} people were signed in within {:.0} s", grouped(sessions), stopwatch.seconds() - begun);
        }
        let plural = if sessions == 1 { "" } else { "s" };
        let side = Side::of(format!("Keyward, {} session{plural}", grouped(sessions)), sessions, process, http);
        if sessions == SESSIONS[1] {
            fastcgi = Some(side.beside(format!("{}, over FastCGI", grouped(sessions)), door));
        }
        sides.push(side);
    }
    let socket = workspace.path().join("keyward.sock");
    let Keyward { process, http, .. } = start(&own, &Shape { socket: Some(&socket), ..Shape::default() })?;
    Connections::open(http.clone(), CONNECTIONS)?.ask(&crowd, 0..SESSIONS[1], Ask::ForKeys)?;
    sides.extend(fastcgi);
    sides.push(Side::of(format!("{}, over a Unix socket", grouped(SESSIONS[1])), SESSIONS[1], process, http));
    let mut others = Vec::new();
    for program in std::env::var(OTHERS).unwrap_or_default().split(':').filter(|path| !path.is_empty()) {
        let Keyward { process, http, .. } = start(program, &Shape::default())?;
        others.push(Side::of(program.to_owned(), 1, process, http));
    }
    let head = Connections::open(sides[0].door.clone(), 1)?.sample(&crowd)?;
    let nginx = Nginx::start(workspace.path(), &head, &pinning)?;
    let door = Door::from(nginx.process.address);
    let mut reference = Side::of("nginx, return 200".to_owned(), 1, nginx.process, door.clone());
    println!(
        "{} bytes of request head, {} bytes of answer head from Keyward and {} from nginx; {pinning}",
        crowd.request_bytes(),
        head.len(),
        Connections::open(door, 1)?.sample(&crowd)?.len(),
    );

    let (mut round, rounds) = (0, Stopwatch::start());
    while round < ROUNDS && (round < 3 || rounds.seconds() < LONGEST) {
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
    at_most("bytes for each session, less those of its keys", memory - webmail.key_bytes() as f64, MEMORY_TARGET);
    plot(&reference, &sides)?;
    println!("took {:.0} s", stopwatch.seconds());
    Ok(())
}

/// One of those that are compared.
struct Side {
    name: String,
    sessions: usize,
    process: Rc<Process>,
    door: Door,
    /// Microseconds of processor time for each request, one figure a round.
    costs: Vec<f64>,
}

impl Side {
    fn of(name: String, sessions: usize, process: Process, door: Door) -> Self {
        Self { name, sessions, process: Rc::new(process), door, costs: Vec::new() }
    }

    /// The same process by another door.
    fn beside(&self, name: String, door: Door) -> Self {
        Self { name, sessions: self.sessions, process: Rc::clone(&self.process), door, costs: Vec::new() }
    }

    fn turn(&mut self, crowd: &Crowd, ask: Ask) -> Result<(), Box<dyn Error>> {
        let turn = self.costs.len();
        self.costs.push(turn::cost(&self.process, &self.door, (crowd, self.sessions), ask, turn)?);
        Ok(())
    }

    fn against(&self, other: &Self) -> Spread {
        Spread::of(&ratios(&self.costs, &other.costs))
    }
}

fn report(reference: &Side, sides: &[Side]) {
    println!("\nprocessor time of a request in microseconds, {} rounds of {TURN} requests", reference.costs.len());
    println!("{:<28} {:>7} {:>18} {:>16}", "", "median", "ratio, median", "middle half");
    println!("{:<28} {:>7.2} {:>18}", reference.name, median(&reference.costs), "1");
    for side in sides {
        let Spread { median: ratio, low, high } = side.against(reference);
        let half = format!("{low:.2} to {high:.2}");
        println!("{:<28} {:>7.2} {ratio:>18.2} {half:>16}", side.name, median(&side.costs));
    }
    println!();
    let [one, thousand, most, fastcgi, unix] = sides else { return };
    for side in [one, thousand, most] {
        let what = format!("processor time of a decision against nginx, {}", side.name);
        at_most(&what, side.against(reference).median, RATIO_TARGET);
    }
    let dearest = [thousand, most].map(|side| side.against(one).median).into_iter().fold(0.0, f64::max);
    let many = [thousand, most].map(|side| grouped(side.sessions)).join(" and ");
    let what = format!("flatness: the dearest of {many} sessions against one");
    at_most(&what, dearest, FLATNESS_TARGET);
    for (what, side, target) in [("FastCGI", fastcgi, FASTCGI_TARGET), ("HTTP over a Unix socket", unix, UNIX_TARGET)] {
        let ratio = side.against(thousand);
        at_most(&format!("{what} against HTTP over TCP, {} sessions", grouped(side.sessions)), ratio.median, target);
        println!("  {ratio}");
    }
}

/// Draws what was measured.
fn plot(reference: &Side, sides: &[Side]) -> Result<(), Box<dyn Error>> {
    let bar = |side: &Side| Bar {
        name: side.name.clone(),
        ratio: side.against(reference),
        is_reference: std::ptr::eq(side, reference),
    };
    let bars: Vec<Bar> = std::iter::once(reference).chain(sides).map(bar).collect();
    let picture = plot::draw(&bars);
    let elsewhere = std::env::var_os(PLOT).map(PathBuf::from);
    for file in [PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("side_by_side.svg")].into_iter().chain(elsewhere) {
        std::fs::write(&file, &picture)?;
        println!("drawn in {}", file.display());
    }
    Ok(())
}
