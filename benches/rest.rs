//! What Keyward takes of a processor while nobody asks anything, and a million sessions are to be looked after all the
//! same: `cargo bench --bench rest`. Each is looked at again and again, whether its back-end is to be asked for it, or
//! whether its end has come. It ends well, whatever it measures. See `benches/README.md`.

#[path = "common/mod.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod common;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use keyward::observe::Stopwatch;

use common::connections::{Ask, Connections};
use common::figures::{at_most, grouped};
use common::load::{Crowd, many};
use common::servers::{Keyward, Pinning, Process, Shape};
use common::turn::CONNECTIONS;
use common::webmail::Webmail;

/// Two fifths of the default, so that everybody is looked at two and a half times as often.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(120);
/// When everybody's keep-alive has come due once, each a little apart from the others, as it will be from then on: in
/// another order than that in which they came.
const SETTLES: Duration = Duration::from_secs(KEEP_ALIVE_INTERVAL.as_secs() * 11 / 10 + 1);
/// How long is measured. Sessions that nobody uses are looked at once in half an interval, so in this time everybody's
/// is.
const REST: Duration = Duration::from_secs(KEEP_ALIVE_INTERVAL.as_secs() / 2);
/// The same while there are none.
const EMPTY_REST: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// Per cent of one processor.
const TARGET: f64 = 1.0;

fn main() -> Result<(), Box<dyn Error>> {
    if !common::is_asked("--bench rest") {
        return Ok(());
    }
    let (stopwatch, pinning, workspace) = (Stopwatch::start(), Pinning::take(), tempfile::tempdir()?);
    let (sessions, webmail) = (many()?, Webmail::start()?);
    let interval = format!("{}s", KEEP_ALIVE_INTERVAL.as_secs());
    let shape = Shape { keep_alive_interval: &interval, ..Shape::default() };
    let keyward = Keyward::start(&common::program(), workspace.path(), &webmail, &pinning, &shape)?;
    println!("{pinning}\nper cent of one processor, nobody signed in: {}", Rest::of(&keyward.process, EMPTY_REST)?);
    let (crowd, begun) = (Crowd::of(sessions)?, stopwatch.seconds());
    Connections::open(keyward.http.clone(), CONNECTIONS)?.ask(&crowd, 0..sessions, Ask::ForKeys)?;
    let took = stopwatch.seconds() - begun;
    println!("{} people were signed in within {took:.0} s, and are left alone from now on", grouped(sessions));
    drop(crowd);
    std::thread::sleep(SETTLES);
    let rest = Rest::of(&keyward.process, REST)?;
    println!("per cent of one processor, {} sessions: {rest}; {} checks", grouped(sessions), webmail.checks());
    println!("microseconds for each session and look: {:.2}", rest.processor_seconds * 1e6 / sessions as f64);
    at_most("per cent of one processor at rest", rest.per_cent, TARGET);
    println!("took {:.0} s", stopwatch.seconds());
    Ok(())
}

/// What a process takes while nobody asks anything.
struct Rest {
    processor_seconds: f64,
    /// Of one processor, over all of the time and in the busiest second.
    per_cent: f64,
    busiest: f64,
}

impl Rest {
    fn of(process: &Process, time: Duration) -> Result<Self, Box<dyn Error>> {
        let (stopwatch, begun) = (Stopwatch::start(), process.processor_time()?);
        let (mut busiest, mut before) = (0.0, (0.0, begun));
        while stopwatch.seconds() < time.as_secs_f64() {
            std::thread::sleep(SECOND);
            let now = (stopwatch.seconds(), process.processor_time()?);
            busiest = f64::max(busiest, now.1.saturating_sub(before.1).as_secs_f64() / (now.0 - before.0));
            before = now;
        }
        let processor_seconds = before.1.saturating_sub(begun).as_secs_f64();
        Ok(Self { processor_seconds, per_cent: 100.0 * processor_seconds / before.0, busiest: 100.0 * busiest })
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3}, {:.3} in the busiest second", self.per_cent, self.busiest)
    }
}
