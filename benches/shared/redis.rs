//! A store of our own, and what it says of itself.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::common::servers::{Pinning, Process, free_address};

/// Commands that come from clients. Whatever else is counted was done within a script.
const FROM_CLIENTS: [&str; 4] = ["evalsha", "eval", "xread", "ping"];

/// A server that keeps nothing on disk.
pub struct Redis {
    pub process: Process,
}

impl Redis {
    pub fn is_installed() -> bool {
        Command::new("redis-server").arg("--version").output().is_ok_and(|output| output.status.success())
    }

    pub fn start(workspace: &Path, pinning: &Pinning) -> Result<Self, Box<dyn Error>> {
        let address = free_address()?;
        let mut command = pinning.command("redis-server");
        command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]);
        command.arg("--dir").arg(workspace);
        Ok(Self { process: Process::start(command, address)? })
    }

    /// `[store]`, for replicas that share it.
    pub fn section(&self) -> String {
        format!(
            "[store]\nkind = \"redis\"\naddresses = [\"{}\"]\nnames_secret = \"names names names names names 32!\"\n\
             [[store.key]]\nid = \"a\"\nsecret = \"seals seals seals seals seals 32!\"\n",
            self.process.address
        )
    }

    /// What it has counted since its start.
    pub fn counts(&self) -> Result<Counts, Box<dyn Error>> {
        let mut counts = Counts::default();
        for line in self.say("INFO everything")?.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            if let Some(command) = name.strip_prefix("cmdstat_") {
                let calls = value.strip_prefix("calls=").and_then(|rest| rest.split(',').next()).unwrap_or_default();
                counts.calls.insert(command.to_owned(), calls.parse()?);
            }
            let counted = match name {
                "used_memory" => &mut counts.memory,
                "total_net_input_bytes" => &mut counts.bytes_in,
                "total_net_output_bytes" => &mut counts.bytes_out,
                "used_cpu_sys" | "used_cpu_user" => &mut counts.processor_seconds,
                _ => continue,
            };
            *counted += value.trim().parse::<f64>()?;
        }
        Ok(counts)
    }

    fn say(&self, words: &str) -> Result<String, Box<dyn Error>> {
        let mut stream = TcpStream::connect(self.process.address)?;
        stream.write_all(format!("{words}\r\n").as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut length = String::new();
        reader.read_line(&mut length)?;
        let length = length.trim().strip_prefix('$').ok_or("no text")?.parse()?;
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        Ok(String::from_utf8(text)?)
    }
}

/// What a server has counted, or has counted between two looks.
#[derive(Clone, Default)]
pub struct Counts {
    calls: BTreeMap<String, f64>,
    pub memory: f64,
    pub bytes_in: f64,
    pub bytes_out: f64,
    pub processor_seconds: f64,
}

impl Counts {
    /// What was added since then.
    pub fn since(&self, before: &Self) -> Self {
        let added = |(command, calls): (&String, &f64)| {
            (command.clone(), calls - before.calls.get(command).copied().unwrap_or_default())
        };
        Self {
            calls: self.calls.iter().map(added).collect(),
            memory: self.memory - before.memory,
            bytes_in: self.bytes_in - before.bytes_in,
            bytes_out: self.bytes_out - before.bytes_out,
            processor_seconds: self.processor_seconds - before.processor_seconds,
        }
    }

    /// Scripts that replicas had run.
    pub fn scripts(&self) -> f64 {
        self.of("evalsha") + self.of("eval")
    }

    /// Whatever replicas asked for.
    pub fn commands(&self) -> f64 {
        FROM_CLIENTS.iter().map(|command| self.of(command)).sum()
    }

    /// How often this command was run, in scripts or by itself.
    pub fn of(&self, command: &str) -> f64 {
        self.calls.get(command).copied().unwrap_or_default()
    }

    /// Bytes in both directions.
    pub fn bytes(&self) -> f64 {
        self.bytes_in + self.bytes_out
    }
}
