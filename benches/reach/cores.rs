//! What a second processor brings.

use std::error::Error;
use std::io;

use keyward::observe::Stopwatch;

use crate::Stage;
use crate::connections::{Ask, Connections};
use crate::figures::{Spread, at_least};
use crate::servers::{Keyward, Pinning, Shape};
use crate::webmail::Webmail;

/// Connections to each worker.
const CONNECTIONS: usize = 32;
const SESSIONS: usize = 1_000;
/// Requests in a turn.
const TURN: usize = 20_000;
const ROUNDS: usize = 41;
/// How often as many decisions a second, with two processors in the place of one.
const GROWTH_TARGET: f64 = 1.8;

pub fn measure(stage: &Stage<'_>, processors: &[usize]) -> Result<(), Box<dyn Error>> {
    println!("two processors");
    let [first, second, ref others @ ..] = *processors else {
        println!("there is one processor only; nothing was measured");
        return Ok(());
    };
    // The load wants as many as the servers, or it is what is measured.
    let is_real = others.len() >= 2;
    let own = if is_real { others } else { &[first, second][..] };
    let pinnings = [&[first][..], &[first, second]].map(|servers| Pinning::to(servers, own));
    if !pinnings.iter().all(Pinning::holds) {
        println!("there is no taskset; nothing was measured");
        return Ok(());
    }
    let webmail = Webmail::start()?;
    let mut sides = Vec::new();
    for (workers, pinning) in (1..).zip(&pinnings) {
        let keyward = stage.keyward(&webmail, pinning, &Shape::default())?;
        Connections::open(keyward.http.clone(), CONNECTIONS)?.ask(&stage.crowd, 0..SESSIONS, Ask::ForKeys)?;
        sides.push(Side { keyward, workers, turns: Vec::new() });
    }
    let loads = if is_real { own.len().min(4) } else { 1 };
    for round in 0..ROUNDS {
        for place in [round % 2, (round + 1) % 2] {
            sides[place].turn(stage, loads)?;
        }
    }
    let [one, two] = &sides[..] else { return Ok(()) };
    let growths = one.turns.iter().zip(&two.turns).map(|(one, two)| {
        if is_real { one.seconds / two.seconds } else { 2.0 * one.processor_seconds / two.processor_seconds }
    });
    let growth = Spread::of(&growths.collect::<Vec<_>>());
    if is_real {
        for side in &sides {
            let busy: Vec<f64> = side.turns.iter().map(|turn| turn.processor_seconds / turn.seconds).collect();
            println!("  {} worker(s): {:.2} processors busy", side.workers, Spread::of(&busy).median);
        }
        println!("  throughput with two workers against one, the load on other processors: {growth}");
    } else {
        println!(
            "  there are too few processors for servers and load, so this is no throughput: twice what a request takes \
             of one worker's processor, in parts of what it takes of two workers', while the load runs beside them on \
             the same two: {growth}"
        );
    }
    at_least("growth with a second processor", growth.median, GROWTH_TARGET);
    Ok(())
}

struct Side {
    keyward: Keyward,
    workers: usize,
    turns: Vec<Turn>,
}

struct Turn {
    seconds: f64,
    processor_seconds: f64,
}

impl Side {
    fn turn(&mut self, stage: &Stage<'_>, loads: usize) -> Result<(), Box<dyn Error>> {
        let each = CONNECTIONS * self.workers / loads;
        let mut loads: Vec<Connections> =
            (0..loads).map(|_| Connections::open(self.keyward.http.clone(), each.max(1))).collect::<Result<_, _>>()?;
        for connections in &mut loads {
            connections.ask(&stage.crowd, 0..each, Ask::ForKeys)?;
        }
        let (before, stopwatch) = (self.keyward.process.processor_time()?, Stopwatch::start());
        let count = TURN / loads.len();
        std::thread::scope(|scope| {
            let asking = loads.iter_mut().enumerate().map(|(load, connections)| {
                let whom = (0..count).map(move |turn| (turn + load * count) * 7_919 % SESSIONS);
                scope.spawn(move || connections.ask(&stage.crowd, whom, Ask::ForAnything))
            });
            let asking: Vec<_> = asking.collect();
            asking.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::Error::other("the load broke"))?)
        })?;
        let seconds = stopwatch.seconds();
        let processor_seconds = self.keyward.process.processor_time()?.saturating_sub(before).as_secs_f64();
        self.turns.push(Turn { seconds, processor_seconds });
        Ok(())
    }
}
