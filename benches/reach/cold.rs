//! What a first request takes beyond the login that it waits for.

use std::error::Error;
use std::io;
use std::time::Duration;

use keyward::observe::Stopwatch;

use crate::connections::{Ask, Connections, Door};
use crate::figures::{Spread, at_most, median, ratio};
use crate::servers::{Pinning, Shape};
use crate::webmail::Webmail;
use crate::{PEOPLE, Stage};

/// What the back-end takes for a login.
const LOGIN: Duration = Duration::from_millis(50);
/// Logins under way at any time.
const IN_FLIGHT: usize = 100;
/// First requests of each of them, one after the other, in a turn.
const EACH: usize = 6;
const ROUNDS: usize = 15;
/// Per cent of the login.
const BEYOND_TARGET: f64 = 5.0;

pub fn measure(stage: &Stage<'_>, pinning: &Pinning) -> Result<(), Box<dyn Error>> {
    println!("\nfirst requests, {IN_FLIGHT} logins in flight at a back-end that takes {LOGIN:?} for each");
    let webmail = Webmail::taking(LOGIN)?;
    let keyward = stage.keyward(&webmail, pinning, &Shape { max_logins: 2 * IN_FLIGHT, ..Shape::default() })?;
    let (mut beyond, mut logins) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let turn = round * IN_FLIGHT * EACH;
        let first = |with_keyward| match with_keyward {
            true => first_requests(stage, &keyward.http, turn),
            false => alone(&webmail, turn),
        };
        // Who comes first alternates.
        let (one, other) = (first(round % 2 == 0)?, first(round % 2 == 1)?);
        let (asked, direct) = if round % 2 == 0 { (one, other) } else { (other, one) };
        logins.push(median(&direct) * 1e3);
        beyond.push(100.0 * (ratio(median(&asked), median(&direct)) - 1.0));
    }
    println!("  a login without Keyward, in milliseconds: {}", Spread::of(&logins));
    println!("  a first request takes so many per cent more, median of each round: {}", Spread::of(&beyond));
    at_most("per cent beyond the back-end's own login", median(&beyond), BEYOND_TARGET);
    Ok(())
}

/// Seconds of each first request by Keyward.
fn first_requests(stage: &Stage<'_>, door: &Door, turn: usize) -> io::Result<Vec<f64>> {
    // A connection is there before, as a web server's is, and known to its worker.
    let whoever = PEOPLE - 1;
    let mut connections = (0..IN_FLIGHT).map(|_| Connections::open(door.clone(), 1)).collect::<Result<Vec<_>, _>>()?;
    for connection in &mut connections {
        connection.ask(&stage.crowd, [whoever], Ask::ForKeys)?;
    }
    staggered(connections, |connection, login| connection.ask(&stage.crowd, [turn + login], Ask::ForKeys))
}

/// Seconds of each login without it.
fn alone(webmail: &Webmail, turn: usize) -> io::Result<Vec<f64>> {
    staggered(vec![(); IN_FLIGHT], |(), login| webmail.sign_in(turn + login))
}

/// Has each of them do it again and again, begun one shortly after the other, as people come.
fn staggered<T: Send>(those: Vec<T>, one: impl Fn(&mut T, usize) -> io::Result<()> + Sync) -> io::Result<Vec<f64>> {
    let (one, apart) = (&one, LOGIN / IN_FLIGHT as u32);
    std::thread::scope(|scope| {
        let threads: Vec<_> = those
            .into_iter()
            .enumerate()
            .map(|(place, mut that)| {
                scope.spawn(move || {
                    std::thread::sleep(apart * place as u32);
                    let taken = (0..EACH).map(|time| {
                        let stopwatch = Stopwatch::start();
                        one(&mut that, place * EACH + time).map(|()| stopwatch.seconds())
                    });
                    taken.collect::<io::Result<Vec<f64>>>()
                })
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| io::Error::other("the load broke"))??);
        }
        Ok(all)
    })
}
