//! What everybody else notices of a back-end that hangs.

use std::error::Error;
use std::time::Duration;

use keyward::observe::Stopwatch;

use crate::connections::{Ask, Connections};
use crate::figures::{Spread, at_most, quantile, ratios};
use crate::servers::{Keyward, Pinning, Shape};
use crate::webmail::Webmail;
use crate::{PEOPLE, Stage, connected};

/// Who waits at the one that hangs.
const WAITING: usize = 5_000;
const STUCK_HOST: &str = "stuck.example.test";
/// For ever, as far as this goes.
const HANGS: Duration = Duration::from_secs(24 * 3600);
const SESSIONS: usize = 1_000;
/// How long those who wait are given to come to rest.
const SETTLES: Duration = Duration::from_secs(3);
/// Warm decisions in a turn, one after the other.
const WARM: usize = 3_000;
/// Logins at the other back-end in a turn.
const LOGINS: usize = 300;
const ROUNDS: usize = 41;
/// The slowest hundredth against the same where nobody waits.
const TARGET: f64 = 1.2;

pub fn measure(stage: &Stage<'_>, pinning: &Pinning) -> Result<(), Box<dyn Error>> {
    println!("\nisolation: {WAITING} people wait at a back-end that hangs");
    let waiting = connected(WAITING);
    let (webmail, stuck) = (Webmail::start()?, Webmail::taking(HANGS)?);
    // Whoever waits does so until the end, and nobody finds out that it hangs.
    let more = format!(
        r#"
[[backend]]
name        = "stuck"
kind        = "axigen"
url         = "http://{}"
credentials = "portal"
max_logins  = 64
login_timeout = "1h"
idle_timeout  = "4h"
keep_alive_interval = "1h"
[[route]]
host    = "{STUCK_HOST}"
path    = "/"
portal  = "customer-portal"
backend = "stuck"
"#,
        stuck.address
    );
    let mut sides = Vec::new();
    for _ in 0..2 {
        let keyward = stage.keyward(&webmail, pinning, &Shape { more: &more, ..Shape::default() })?;
        Connections::open(keyward.http.clone(), 32)?.ask(&stage.crowd, 0..SESSIONS, Ask::ForKeys)?;
        sides.push(Side { keyward, warm: Vec::new(), logins: Vec::new() });
    }
    let mut crowd = Connections::open(sides[1].keyward.http.clone(), waiting)?.at(STUCK_HOST);
    crowd.send(&stage.crowd, PEOPLE - waiting..PEOPLE);
    // Until they have all been read.
    std::thread::sleep(SETTLES);
    println!("  {waiting} wait, {} of them at the back-end itself", stuck.logins());
    for round in 0..ROUNDS {
        for place in [round % 2, (round + 1) % 2] {
            sides[place].turn(stage, round)?;
        }
    }
    let [quiet, beside] = &sides[..] else { return Ok(()) };
    for (what, figures) in [("warm decisions", Side::warm as fn(&Side) -> &[f64]), ("logins", Side::logins)] {
        let ratio = Spread::of(&ratios(figures(beside), figures(quiet)));
        let microseconds = [quiet, beside].map(|side| Spread::of(figures(side)).median * 1e6);
        println!(
            "  {what} at another back-end, the slowest hundredth: {:.0} µs in quiet, {:.0} µs beside those who wait; {}",
            microseconds[0], microseconds[1], ratio
        );
        at_most(&format!("p99 of {what} against the same in quiet"), ratio.median, TARGET);
    }
    drop(crowd);
    Ok(())
}

/// A Keyward, and the slowest hundredth of each turn, in seconds.
struct Side {
    keyward: Keyward,
    warm: Vec<f64>,
    logins: Vec<f64>,
}

impl Side {
    fn warm(&self) -> &[f64] {
        &self.warm
    }

    fn logins(&self) -> &[f64] {
        &self.logins
    }

    fn turn(&mut self, stage: &Stage<'_>, round: usize) -> Result<(), Box<dyn Error>> {
        let mut connection = Connections::open(self.keyward.http.clone(), 1)?;
        connection.ask(&stage.crowd, 0..100, Ask::ForKeys)?;
        let mut slowest = |people: &mut dyn Iterator<Item = usize>| -> Result<f64, Box<dyn Error>> {
            let mut taken = Vec::new();
            for person in people {
                let stopwatch = Stopwatch::start();
                connection.ask(&stage.crowd, [person], Ask::ForKeys)?;
                taken.push(stopwatch.seconds());
            }
            Ok(quantile(&taken, 0.99))
        };
        self.warm.push(slowest(&mut (0..WARM).map(|turn| turn * 7_919 % SESSIONS))?);
        let first = SESSIONS + round * LOGINS;
        self.logins.push(slowest(&mut (first..first + LOGINS))?);
        Ok(())
    }
}
