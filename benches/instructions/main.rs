//! How many instructions a decision from the cache takes, held against the record beside this file:
//! `cargo bench --profile counted --bench instructions`. Unlike time, they are the same in every run and on a busy
//! machine, so this one bench may fail, and a change that makes decisions dearer is seen before it lands.
//!
//! A whole `keyward serve` runs under `valgrind --tool=callgrind`, twice, and what the second run was asked more
//! stands for the difference: neither the start nor the login is counted, and no background chore weighs anything.
//! Valgrind has no SHA extensions, so the ticket's HMAC counts for more here than it costs. See `benches/README.md`.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "another bench uses more of it")]
mod common;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use common::connections::{Ask, Connections};
use common::load::Crowd;
use common::servers::{Keyward, Shape};
use common::webmail::Webmail;

/// The build that is counted. It differs from a release only in what makes that slow to build.
const PROFILE: &str = "counted";
/// What is held against, one door and its number a line.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/record.txt");
/// Has the record written anew.
const WRITE: &str = "KEYWARD_RECORD";
/// How many questions the two runs are asked.
const QUESTIONS: [usize; 2] = [1_000, 6_000];
/// By how much more than the record says that the decision has become dearer.
const TOLERATED: f64 = 0.03;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if !common::is_asked(&format!("--profile {PROFILE} --bench instructions")) {
        return Ok(ExitCode::SUCCESS);
    }
    let program = env!("CARGO_BIN_EXE_keyward");
    if !Path::new(program).components().any(|part| part.as_os_str() == PROFILE) {
        return Err(format!("{program} is not built as the record's: add --profile {PROFILE}").into());
    }
    let record = fs::read_to_string(RECORD)?;
    let (writes, mut written, mut is_dearer) = (std::env::var_os(WRITE).is_some(), String::new(), false);
    for line in record.lines() {
        let (door, recorded) = line.split_once(' ').ok_or("a line of the record is not a door and its number")?;
        let (counted, recorded) = (decision(program, door)?, recorded.parse::<f64>()?);
        let grown = counted / recorded - 1.0;
        println!("{door}: {counted:.0} instructions a decision, {:+.1} % against {recorded} on record", grown * 100.0);
        is_dearer |= grown > TOLERATED;
        if grown < -TOLERATED && !writes {
            println!("That is cheaper than before: write the record anew with {WRITE}=1, and it stays so.");
        }
        written += &format!("{door} {counted:.0}\n");
    }
    if writes {
        fs::write(RECORD, written)?;
        println!("written to {RECORD}");
    } else if is_dearer {
        println!(
            "A decision has become dearer. Where that is worth it, say so and write the record anew:\n  \
             {WRITE}=1 cargo bench --profile {PROFILE} --bench instructions"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The instructions of one decision at this door.
fn decision(program: &str, door: &str) -> Result<f64, Box<dyn Error>> {
    let [few, many] = QUESTIONS;
    Ok((count(program, door, many)? - count(program, door, few)?) as f64 / (many - few) as f64)
}

/// The instructions of a whole life with so many questions, each answered with the keys of who asked.
fn count(program: &str, door: &str, questions: usize) -> Result<u64, Box<dyn Error>> {
    let workspace = tempfile::tempdir()?;
    let (webmail, crowd, counts) = (Webmail::start()?, Crowd::of(1)?, workspace.path().join("counts"));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", counts.display()));
    valgrind.arg(program).stderr(Stdio::null());
    let keyward = Keyward::start_by(valgrind, workspace.path(), &webmail, &Shape::default())?;
    let door = match door {
        "http" => &keyward.http,
        "fastcgi" => &keyward.fastcgi,
        _ => return Err(format!("{door} in the record is no door").into()),
    };
    Connections::open(door.clone(), 1)?.ask(&crowd, std::iter::repeat_n(0, questions), Ask::ForKeys)?;
    // What was counted is written when it ends.
    drop(keyward);
    let counts = fs::read_to_string(counts)?;
    let total = counts.lines().find_map(|line| line.strip_prefix("totals:")).ok_or("valgrind has counted nothing")?;
    Ok(total.trim().parse()?)
}
