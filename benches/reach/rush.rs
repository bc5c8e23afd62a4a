//! Everybody at once, and nobody is signed in.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward::observe::Stopwatch;

use crate::common::load::HOST;
use crate::connections::{Ask, Connections};
use crate::figures::{Spread, at_least, at_most, median};
use crate::servers::{Pinning, Shape};
use crate::webmail::Webmail;
use crate::{Stage, connected};

const USERS: usize = 10_000;
const MAX_LOGINS: usize = 64;
const LOGIN: Duration = Duration::from_millis(10);
const ROUNDS: usize = 5;
/// Who gives up in another rush, before their turn, and who stays.
const LEAVING: usize = 5_000;
const STAYING: usize = 1_000;
/// The time for all against what the back-end takes without Keyward, asked by so many at a time.
const TIME_TARGET: f64 = 1.1;
/// Spearman's, of the order in which they came with that in which they were signed in.
const ORDER_TARGET: f64 = 0.99;
/// Memory for each who waits, with their connection, in KiB.
const MEMORY_TARGET: f64 = 32.0;
/// Per cent of those who gave up that took a place all the same: whose turn had come before they could.
const TAKEN_TARGET: f64 = 10.0;

pub fn measure(stage: &Stage<'_>, pinning: &Pinning) -> Result<(), Box<dyn Error>> {
    println!("\na rush: {USERS} people at once, max_logins = {MAX_LOGINS}, a login takes {LOGIN:?}");
    let users = connected(USERS);
    let (mut times, mut directs, mut orders, mut memories) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut unserved = 0;
    let ideal = LOGIN.as_secs_f64() * users as f64 / MAX_LOGINS as f64;
    for _ in 0..ROUNDS {
        let webmail = Webmail::taking(LOGIN)?;
        let direct = all_alone(&webmail, users)?;
        webmail.take_order();
        // A new one each time, which knows nobody.
        let shape = Shape { max_logins: MAX_LOGINS, ..Shape::default() };
        let process = stage.keyward(&webmail, pinning, &shape)?.process;
        let before = process.resident_bytes()?;
        let mut connections = used(process.address, users, stage)?;
        let stopwatch = Stopwatch::start();
        connections.send(&stage.crowd, 0..users);
        let answers = connections.receive(&stage.crowd, 0..users, Ask::ForKeys);
        let took = stopwatch.seconds();
        let peak = process.peak_bytes()?;
        if answers.right < users {
            let wrong = answers.wrong.unwrap_or_default();
            println!("  {} of {users} got their keys; {}", answers.right, wrong.lines().next().unwrap_or_default());
        }
        unserved = unserved.max(users - answers.right);
        times.push(took / direct);
        directs.push(direct / ideal);
        orders.push(rank_correlation(&webmail.take_order()));
        memories.push(peak.saturating_sub(before) as f64 / 1024.0 / users as f64);
        println!(
            "  {took:.2} s for all, without Keyward {direct:.2} s, by the numbers {ideal:.2} s; in order to {:.3}; at most \
             {} MiB, {} before anybody came; {:.1} s of its processor, for which its threads waited {:.1} s",
            orders.last().copied().unwrap_or_default(),
            peak >> 20,
            before >> 20,
            process.processor_time()?.as_secs_f64(),
            process.waiting_time()?.as_secs_f64()
        );
    }
    println!("  the back-end's own time against that by the numbers: {}", Spread::of(&directs));
    println!("  the time for all against the back-end's own: {}", Spread::of(&times));
    println!("  rank correlation of coming and being signed in: {}", Spread::of(&orders));
    at_most("people who got no keys within login_timeout, in the worst round", unserved as f64, 0.0);
    at_most("time for all against the back-end's own", median(&times), TIME_TARGET);
    at_least("order of arrival, rank correlation", median(&orders), ORDER_TARGET);
    at_most("KiB of memory for each who waits", median(&memories), MEMORY_TARGET);
    gone(stage, pinning)
}

/// How many of those who give up are signed in all the same, and hold up whoever came after them.
fn gone(stage: &Stage<'_>, pinning: &Pinning) -> Result<(), Box<dyn Error>> {
    println!(
        "\nthe same for {LEAVING} people who give up as soon as all have asked, and {STAYING} who came after them"
    );
    let leaving = connected(LEAVING + STAYING).saturating_sub(STAYING);
    let mut taken = Vec::new();
    for _ in 0..ROUNDS {
        let webmail = Webmail::taking(LOGIN)?;
        let shape = Shape { max_logins: MAX_LOGINS, ..Shape::default() };
        let process = stage.keyward(&webmail, pinning, &shape)?.process;
        let mut impatient = used(process.address, leaving, stage)?;
        let mut patient = used(process.address, STAYING, stage)?;
        let stopwatch = Stopwatch::start();
        impatient.send(&stage.crowd, 0..leaving);
        patient.send(&stage.crowd, leaving..leaving + STAYING);
        drop(impatient);
        let (left, before) = (stopwatch.seconds(), webmail.logins());
        let right = patient.receive(&stage.crowd, leaving..leaving + STAYING, Ask::ForKeys).right;
        let seconds = stopwatch.seconds() - left;
        let order = webmail.take_order();
        let are_gone = |people: &[usize]| people.iter().filter(|person| **person < leaving).count();
        let (all, late) = (are_gone(&order), are_gone(&order[before.min(order.len())..]));
        println!(
            "  all had asked and some had gone after {left:.2} s; {right} of {STAYING} had their keys {seconds:.2} s \
             later; of {leaving} who had gone {} were signed in before all of them had, and {late} after that",
            all - late
        );
        taken.push(100.0 * late as f64 / leaving.max(1) as f64);
    }
    at_most("per cent of those who gave up that took a place", median(&taken), TAKEN_TARGET);
    Ok(())
}

/// Connections that have been used before, as a web server's are. Each asks for a host that nobody has, since whoever
/// asks on one that is yet to be accepted overtakes others or is overtaken: that is the order of connecting.
fn used(address: SocketAddr, count: usize, stage: &Stage<'_>) -> io::Result<Connections> {
    let mut connections = Connections::open(address, count)?.at("nobody.example.test");
    connections.send(&stage.crowd, 0..count);
    connections.receive(&stage.crowd, 0..count, Ask::ForAnything);
    Ok(connections.at(HOST))
}

/// Seconds until all are signed in by the back-end itself, so many at a time.
fn all_alone(webmail: &Webmail, users: usize) -> io::Result<f64> {
    let (next, stopwatch) = (AtomicUsize::new(0), Stopwatch::start());
    let sign_in = || {
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                person if person < users => webmail.sign_in(person)?,
                _ => return io::Result::Ok(()),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..MAX_LOGINS).map(|_| scope.spawn(sign_in)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::Error::other("the load broke"))?)
    })?;
    Ok(stopwatch.seconds())
}

/// Spearman's, of people who came in the order of their numbers: 1 where they were served so, 0 at random.
fn rank_correlation(served: &[usize]) -> f64 {
    let count = served.len() as f64;
    let apart: f64 =
        (0..).zip(served).map(|(rank, person): (usize, _)| person.abs_diff(rank) as f64).map(|d| d * d).sum();
    1.0 - 6.0 * apart / (count * (count * count - 1.0))
}
