//! Figures of several rounds, and whether they meet their targets.

use std::fmt;

/// A median, and between what half of the figures lie: when that is wide, the machine was busy.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        Self { median: median(values), low: quantile(values, 0.25), high: quantile(values, 0.75) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3} (middle half {:.3} to {:.3})", self.median, self.low, self.high)
    }
}

pub fn at_most(what: &str, measured: f64, target: f64) {
    verdict(what, measured, "at most", target, measured <= target);
}

pub fn at_least(what: &str, measured: f64, target: f64) {
    verdict(what, measured, "at least", target, measured >= target);
}

fn verdict(what: &str, measured: f64, bound: &str, target: f64, is_met: bool) {
    let met = if is_met { "met" } else { "MISSED" };
    let decimals = if measured < 10.0 { 3 } else { 0 };
    println!("{what}: {measured:.decimals$}, target {bound} {target}: {met}");
}

/// Round by round.
pub fn ratios(values: &[f64], of: &[f64]) -> Vec<f64> {
    values.iter().zip(of).map(|(value, of)| ratio(*value, *of)).collect()
}

pub fn ratio(value: f64, of: f64) -> f64 {
    if of > 0.0 { value / of } else { f64::INFINITY }
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or_default()
}

/// A number as people write it.
pub fn grouped(number: usize) -> String {
    match number / 1000 {
        0 => number.to_string(),
        thousands => format!("{} {:03}", grouped(thousands), number % 1000),
    }
}
