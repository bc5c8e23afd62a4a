//! What replicas that share a store ask of it, and what a store costs a decision that needs none:
//! `cargo bench --bench shared`. Real processes on loopback, a real redis-server, and its own counters.
//!
//! Each figure is a constant of the model in `benches/README.md`, "How far it goes", and is printed beside the one that
//! the model has. It ends well, whatever it measures.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod common;
mod model;
mod redis;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use keyward::observe::Stopwatch;

use common::connections::{Ask, Connections};
use common::figures::Spread;
use common::load::{Crowd, HOST, ORIGINAL_LINES};
use common::servers::{Keyward, Pinning, Process, Shape, free_address};
use common::turn::{self, CONNECTIONS};
use common::webmail::Webmail;
use model::Constants;
use redis::{Counts, Redis};

/// What the model has.
const MODEL: Constants = Constants {
    store_bytes: 771.0,
    replica_bytes: 520.0,
    login: 4.0,
    keep_alive: 0.9,
    turn: 1.2,
    sign_out: 2.0,
    rest: 4.5,
    microseconds: 17.0,
    login_bytes: 1162.0,
    keep_alive_bytes: 250.0,
    turn_bytes: 910.0,
    sign_out_bytes: 1040.0,
    told_bytes: 513.0,
};

/// Up to how many sessions the store's memory is looked at, and from how many on, so that what a process needs once is
/// not counted.
const SESSIONS: [usize; 2] = [10_000, 100_000];
const SETTLED: usize = 1_000;
/// Sessions that are kept alive, and signed out.
const FEW: usize = 400;
/// At so many replicas what each of them takes is told from what all of them do.
const MANY: usize = 4;
const INTERVAL: Duration = Duration::from_secs(2);
/// In which no keep-alive is due.
const LONG: &str = "1h";
const INTERVALS: usize = 10;
/// How long nothing happens.
const REST: Duration = Duration::from_secs(20);
/// Turns of warm decisions.
const ROUNDS: usize = 31;
/// Longest wait for something that will come.
const COMES_WITHIN: f64 = 30.0;

fn main() -> Result<(), Box<dyn Error>> {
    if !common::is_asked("--bench shared") {
        return Ok(());
    }
    if !Redis::is_installed() {
        println!("shared: there is no redis-server; nothing was measured");
        return Ok(());
    }
    let stopwatch = Stopwatch::start();
    let workspace = tempfile::tempdir()?;
    let stage = Stage {
        workspace: workspace.path(),
        webmail: Webmail::start()?,
        pinning: Pinning::take(),
        crowd: Crowd::of(SESSIONS[1])?,
    };
    println!("{}", stage.pinning);
    let mut found = Constants { ..MODEL };
    found.rest = at_rest(&stage)?;
    logins(&stage, &mut found)?;
    keep_alives(&stage, &mut found)?;
    sign_outs(&stage, &mut found)?;
    warm(&stage)?;
    report(&found);
    println!("\nBy the model:\n");
    model::print(&MODEL);
    println!("\nBy what was measured now:\n");
    model::print(&found);
    println!("\ntook {:.0} s", stopwatch.seconds());
    Ok(())
}

/// What all phases need.
struct Stage<'a> {
    workspace: &'a Path,
    webmail: Webmail,
    pinning: Pinning,
    crowd: Crowd,
}

/// Replicas, and what they share. They end before it does, or they would say that it is gone.
struct Flock {
    replicas: Vec<Replica>,
    redis: Redis,
}

struct Replica {
    process: Process,
    ops: SocketAddr,
}

impl Stage<'_> {
    fn replica(&self, more: &str, keep_alive_interval: &str) -> Result<Replica, Box<dyn Error>> {
        let ops = free_address()?;
        let shape = Shape { ops: &ops.to_string(), keep_alive_interval, more, ..Shape::default() };
        let keyward = Keyward::start(&common::program(), self.workspace, &self.webmail, &self.pinning, &shape)?;
        let replica = Replica { process: keyward.process, ops };
        until("a replica that is ready", || Ok(get(ops, "/readyz", "")?.starts_with("HTTP/1.1 200")))?;
        until("a replica that has its store", || {
            Ok(more.is_empty() || get(ops, "/metrics", "")?.contains("keyward_store_up 1\n"))
        })?;
        Ok(replica)
    }

    fn flock(&self, replicas: usize) -> Result<Flock, Box<dyn Error>> {
        self.flock_with(replicas, LONG)
    }

    fn flock_with(&self, replicas: usize, keep_alive_interval: &str) -> Result<Flock, Box<dyn Error>> {
        let redis = Redis::start(self.workspace, &self.pinning)?;
        let section = redis.section();
        let replicas = (0..replicas).map(|_| self.replica(&section, keep_alive_interval)).collect::<Result<_, _>>()?;
        Ok(Flock { replicas, redis })
    }
}

impl Flock {
    /// What the store counts while this is done, and for a moment after it.
    fn counting(&self, what: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Counts, Box<dyn Error>> {
        let before = self.redis.counts()?;
        what()?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(self.redis.counts()?.since(&before))
    }

    fn open(&self, replica: usize) -> Result<Connections, Box<dyn Error>> {
        Ok(Connections::open(self.replicas[replica].process.address, CONNECTIONS)?)
    }
}

/// Asks again and again.
fn until(what: &str, mut is_so: impl FnMut() -> Result<bool, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let stopwatch = Stopwatch::start();
    while !is_so()? {
        if stopwatch.seconds() > COMES_WITHIN {
            return Err(format!("it never came: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A whole answer.
fn get(address: SocketAddr, path: &str, lines: &str) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{lines}Connection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Commands a second of each replica while nothing happens.
fn at_rest(stage: &Stage<'_>) -> Result<f64, Box<dyn Error>> {
    let mut found = 0.0;
    for replicas in [1, 5] {
        let flock = stage.flock(replicas)?;
        // What is done once at the start is no rest.
        std::thread::sleep(REST / 4);
        let counts = flock.counting(|| {
            std::thread::sleep(REST);
            Ok(())
        })?;
        found = counts.commands() / REST.as_secs_f64() / replicas as f64;
        let each = |command| counts.of(command) / REST.as_secs_f64() / replicas as f64;
        println!(
            "at rest, {replicas} replicas: {found:.2} commands a second each: {:.2} scripts, {:.2} reads, {:.2} pings",
            each("evalsha"),
            each("xread"),
            each("ping")
        );
    }
    Ok(found)
}

/// What each login is to the store, and each session to its memory and that of a replica.
fn logins(stage: &Stage<'_>, found: &mut Constants) -> Result<(), Box<dyn Error>> {
    let flock = stage.flock(1)?;
    let process = &flock.replicas[0].process;
    let mut connections = flock.open(0)?;
    connections.ask(&stage.crowd, 0..SETTLED, Ask::ForKeys)?;
    let resident = process.resident_bytes()?;
    let mut from = SETTLED;
    for to in SESSIONS {
        let opened = (to - from) as f64;
        let counts = flock.counting(|| Ok(connections.ask(&stage.crowd, from..to, Ask::ForKeys)?))?;
        found.store_bytes = counts.memory / opened;
        found.login = counts.scripts() / opened;
        found.login_bytes = counts.bytes() / opened;
        found.microseconds = counts.processor_seconds * 1e6 / counts.commands();
        println!(
            "logins up to {to} sessions: {:.0} bytes in the store for each, {:.2} scripts, {:.0} bytes over the network, \
             {:.1} microseconds of the store's processor for each command",
            found.store_bytes, found.login, found.login_bytes, found.microseconds
        );
        from = to;
    }
    let grown = process.resident_bytes()?.saturating_sub(resident);
    found.replica_bytes = grown as f64 / (SESSIONS[1] - SETTLED) as f64;
    println!("a replica that shares them: {:.0} resident bytes for each", found.replica_bytes);
    Ok(())
}

/// What sessions in use ask of the store, and of their back-end, at one replica and at [`MANY`].
fn keep_alives(stage: &Stage<'_>, found: &mut Constants) -> Result<(), Box<dyn Error>> {
    // By how many replicas a session is used: commands and bytes for each of its checks, which are once in an interval.
    let (mut commands, mut bytes) = ([0.0; 2], [0.0; 2]);
    for (index, replicas) in [1, MANY].into_iter().enumerate() {
        let flock = stage.flock_with(replicas, &format!("{}s", INTERVAL.as_secs()))?;
        let mut connections: Vec<Connections> =
            (0..replicas).map(|replica| flock.open(replica)).collect::<Result<_, _>>()?;
        let mut everybody =
            || connections.iter_mut().try_for_each(|connections| connections.ask(&stage.crowd, 0..FEW, Ask::ForKeys));
        everybody()?;
        let (stopwatch, checks) = (Stopwatch::start(), stage.webmail.checks());
        let lasting = INTERVAL.as_secs_f64() * INTERVALS as f64;
        let counts = flock.counting(|| {
            while stopwatch.seconds() < lasting {
                everybody()?;
                std::thread::sleep(INTERVAL / 8);
            }
            Ok(())
        })?;
        let turns = (stage.webmail.checks() - checks) as f64;
        let beside = (found.rest + model::DUE) * stopwatch.seconds() * replicas as f64;
        commands[index] = (counts.commands() - beside) / turns;
        bytes[index] = counts.bytes() / turns;
        println!(
            "in use at {replicas} replicas, for each check: {:.2} commands and {:.0} bytes; {:.2} checks for each \
             session and interval",
            commands[index],
            bytes[index],
            turns / (FEW * INTERVALS) as f64
        );
    }
    let more = (MANY - 1) as f64;
    (found.keep_alive, found.keep_alive_bytes) = ((commands[1] - commands[0]) / more, (bytes[1] - bytes[0]) / more);
    (found.turn, found.turn_bytes) = (commands[0] - found.keep_alive, bytes[0] - found.keep_alive_bytes);
    Ok(())
}

/// What a sign-out is to the store, and what is told of it.
fn sign_outs(stage: &Stage<'_>, found: &mut Constants) -> Result<(), Box<dyn Error>> {
    let mut bytes = [0.0; 2];
    for (index, replicas) in [1, 3].into_iter().enumerate() {
        let flock = stage.flock(replicas)?;
        for replica in 0..replicas {
            flock.open(replica)?.ask(&stage.crowd, 0..FEW, Ask::ForKeys)?;
        }
        let stopwatch = Stopwatch::start();
        let counts = flock.counting(|| {
            for person in 0..FEW {
                let cookie = stage.crowd.cookie_line(person);
                let address = flock.replicas[0].process.address;
                let answer = get(address, "/.keyward/logout", &cookie)?;
                if !answer.starts_with("HTTP/1.1 200") {
                    return Err(format!("not signed out: {answer}").into());
                }
                for replica in &flock.replicas {
                    let refused = || {
                        let lines = format!("{cookie}{}", ORIGINAL_LINES);
                        let answer = get(replica.process.address, "/authz/auth-request", &lines)?;
                        Ok(answer.starts_with("HTTP/1.1 401"))
                    };
                    until("a replica that knows of a sign-out", refused)?;
                }
            }
            Ok(())
        })?;
        let ended = FEW as f64;
        found.sign_out = counts.scripts() / ended;
        bytes[index] = counts.bytes() / ended;
        println!(
            "sign-outs at one of {replicas} replicas: {:.2} scripts, {:.2} entries in the stream, {:.2} reads of each \
             replica, {:.0} bytes; {:.1} milliseconds from the first question to the last replica's no",
            found.sign_out,
            counts.of("xadd") / ended,
            counts.of("xread") / ended / replicas as f64,
            bytes[index],
            stopwatch.seconds() * 1e3 / ended
        );
        for replica in &flock.replicas {
            let metrics = get(replica.ops, "/metrics", "")?;
            let told = metrics.lines().filter(|line| line.starts_with("keyward_revocation_seconds_"));
            let told: Vec<&str> = told.filter(|line| !line.contains("_bucket")).collect();
            println!("  {}", told.join(", "));
        }
    }
    found.told_bytes = (bytes[1] - bytes[0]) / 2.0;
    found.sign_out_bytes = bytes[0] - found.told_bytes;
    Ok(())
}

/// What a decision from the cache costs with a store, in parts of what it costs without.
fn warm(stage: &Stage<'_>) -> Result<(), Box<dyn Error>> {
    let (alone, flock) = (stage.replica("", LONG)?, stage.flock(1)?);
    let processes = [&alone.process, &flock.replicas[0].process];
    for process in processes {
        Connections::open(process.address, CONNECTIONS)?.ask(&stage.crowd, 0..SETTLED, Ask::ForKeys)?;
    }
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let mut costs = [0.0; 2];
        for place in [round % 2, (round + 1) % 2] {
            let process = processes[place];
            costs[place] = turn::cost(process, &process.address.into(), (&stage.crowd, SETTLED), Ask::ForKeys, round)?;
        }
        ratios.push(costs[1] / costs[0]);
    }
    println!("a decision from the cache with a store, in parts of one without: {}", Spread::of(&ratios));
    Ok(())
}

fn report(found: &Constants) {
    println!("\n| constant | model | measured |\n|---|---|---|");
    let row = |name: &str, value: fn(&Constants) -> f64| {
        println!("| {name} | {:.2} | {:.2} |", value(&MODEL), value(found));
    };
    row("M_store", |constants| constants.store_bytes);
    row("M_replica", |constants| constants.replica_bytes);
    row("O_login", |constants| constants.login);
    row("O_alive", |constants| constants.keep_alive);
    row("O_turn", |constants| constants.turn);
    row("O_end", |constants| constants.sign_out);
    row("O_rest", |constants| constants.rest);
    row("T", |constants| constants.microseconds);
    row("B_login", |constants| constants.login_bytes);
    row("B_alive", |constants| constants.keep_alive_bytes);
    row("B_turn", |constants| constants.turn_bytes);
    row("B_end", |constants| constants.sign_out_bytes);
    row("B_told", |constants| constants.told_bytes);
}
