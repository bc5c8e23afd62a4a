//! The model of `benches/README.md`, "How far it goes": its constants, and what follows from them.

/// What was measured once, at sizes that fit on one machine.
pub struct Constants {
    /// Bytes in the store for each session at one back-end.
    pub store_bytes: f64,
    /// Bytes in each replica that knows it.
    pub replica_bytes: f64,
    /// Scripts for each login.
    pub login: f64,
    /// Scripts in each `keep_alive_interval`, for each replica at which a session is used: whose turn it is.
    pub keep_alive: f64,
    /// Scripts for each session in use and interval, of whichever replica has the turn: what came of it.
    pub turn: f64,
    /// Scripts for each sign-out.
    pub sign_out: f64,
    /// Commands a second of a replica that does nothing.
    pub rest: f64,
    /// Microseconds of the store's processor for each command.
    pub microseconds: f64,
    /// Bytes on the store's network for each login, keep-alive, and sign-out with what one replica is told of it.
    pub login_bytes: f64,
    pub keep_alive_bytes: f64,
    pub turn_bytes: f64,
    pub sign_out_bytes: f64,
    pub told_bytes: f64,
}

/// What a house is like.
pub struct House {
    pub replicas: f64,
    pub sessions: f64,
}

/// Logins of the busiest second, as a part of all sessions: half of them within two hours.
const LOGINS: f64 = 0.5 / 7_200.0;
/// Sign-outs of the busiest second: all of them within eight hours.
const SIGN_OUTS: f64 = 1.0 / 28_800.0;
/// Part of the sessions that somebody uses at a time.
const ACTIVE: f64 = 0.1;
/// Requests of one of those in an interval. Each goes to any replica.
const REQUESTS: f64 = 20.0;
/// Commands a second, at most, in which a replica says of all its sessions at once when they are due: one for each part
/// of that list.
pub const DUE: f64 = 16.0;
/// Seconds of `keep_alive_interval`.
const INTERVAL: f64 = 300.0;
/// How many of those an `idle_timeout` is.
const IDLE: f64 = 3.0;

/// What it needs.
pub struct Needs {
    pub store_gigabytes: f64,
    pub replica_gigabytes: f64,
    pub logins: f64,
    pub keep_alives: f64,
    pub sign_outs: f64,
    pub told: f64,
    pub rest: f64,
    pub processors: f64,
    pub megabits: f64,
}

impl Needs {
    pub fn of(house: &House, constants: &Constants) -> Self {
        let House { replicas, sessions } = *house;
        let c = constants;
        // At how many replicas one of the sessions in use is seen within an interval, and one of all within a day.
        let seen = |requests: f64| replicas * (1.0 - (1.0 - 1.0 / replicas).powf(requests));
        let (opened, ended) = (sessions * LOGINS, sessions * SIGN_OUTS);
        let turns = sessions * ACTIVE / INTERVAL;
        let asked = turns * seen(REQUESTS);
        let keep_alives = asked * c.keep_alive + turns * c.turn + replicas * DUE;
        let (logins, sign_outs) = (opened * c.login, ended * c.sign_out);
        let (told, rest) = (ended * replicas, replicas * c.rest);
        let bytes = opened * c.login_bytes
            + asked * c.keep_alive_bytes
            + turns * c.turn_bytes
            + ended * (c.sign_out_bytes + replicas * c.told_bytes);
        Self {
            store_gigabytes: sessions * c.store_bytes / 1e9,
            // Idle ones are dropped, so that what is held is what was used of late.
            replica_gigabytes: sessions * ACTIVE * seen(REQUESTS * IDLE) / replicas * c.replica_bytes / 1e9,
            logins,
            keep_alives,
            sign_outs,
            told,
            rest,
            processors: (logins + keep_alives + sign_outs + told + rest) * c.microseconds / 1e6,
            megabits: bytes * 8.0 / 1e6,
        }
    }
}

/// Prints the table of the README.
pub fn print(constants: &Constants) {
    println!("| replicas, with ten million sessions | 1 | 10 | 100 |\n|---|---|---|---|");
    let needs = [1.0, 10.0, 100.0].map(|replicas| Needs::of(&House { replicas, sessions: 1e7 }, constants));
    let row = |what: &str, decimals: usize, value: fn(&Needs) -> f64| {
        let cells = needs.each_ref().map(|needs| format!("{:.decimals$}", value(needs)));
        println!("| {what} | {} |", cells.join(" | "));
    };
    row("GB in the store", 1, |needs| needs.store_gigabytes);
    row("GB in each replica", 2, |needs| needs.replica_gigabytes);
    row("scripts a second for logins", 0, |needs| needs.logins);
    row("scripts a second for keep-alives", 0, |needs| needs.keep_alives);
    row("scripts a second for sign-outs", 0, |needs| needs.sign_outs);
    row("replicas told of a sign-out, a second", 0, |needs| needs.told);
    row("commands a second at rest", 0, |needs| needs.rest);
    row("processors of the store", 2, |needs| needs.processors);
    row("Mbit/s of the store", 0, |needs| needs.megabits);
}
