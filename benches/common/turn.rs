//! What warm decisions take of a process.

use std::error::Error;

use super::connections::{Ask, Connections, Door};
use super::load::Crowd;
use super::servers::Process;

/// Connections that are kept, about what an nginx worker holds to its upstream.
pub const CONNECTIONS: usize = 32;
/// Requests in a turn. Short turns and many rounds, so that a neighbour who makes noise for a while spoils few ratios
/// and touches both sides of them.
pub const TURN: usize = 10_000;

/// Microseconds of processor time for each request of one turn: of this one, counted from zero, at whoever holds so
/// many sessions.
pub fn cost(
    process: &Process,
    door: &Door,
    (crowd, sessions): (&Crowd, usize),
    ask: Ask,
    turn: usize,
) -> Result<f64, Box<dyn Error>> {
    let mut connections = Connections::open(door.clone(), CONNECTIONS)?;
    // Accepting them is no part of a decision.
    connections.ask(crowd, std::iter::repeat_n(0, CONNECTIONS), ask)?;
    let before = process.processor_time()?;
    // Round and round through all sessions, in an order that no cache foresees.
    let start = turn * TURN;
    let whom = (start..start + TURN).map(|request| request * 7_919 % sessions);
    connections.ask(crowd, whom, ask)?;
    let took = process.processor_time()?.saturating_sub(before);
    Ok(took.as_secs_f64() * 1e6 / TURN as f64)
}
