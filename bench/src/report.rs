//! The results: one row per benchmark, as a line for a person and as JSON for programs.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The answer to one question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its number: `P2`.
    id: String,
    /// Its name: `inbound`.
    name: String,
    /// When it was measured, in UTC.
    at: String,
    /// Values without a target; absolute figures depend on the machine as much as on Weir.
    seen: Vec<String>,
    /// Values with a target.
    judged: Vec<Figure>,
}

/// A figure with its target.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Figure {
    what: String,
    value: f64,
    target: f64,
    /// Whether the value is to be the target or more; else it is to be the target or less.
    at_least: bool,
    ok: bool,
}

impl Row {
    pub(crate) fn new(id: &str, name: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%MZ").to_string(),
            seen: Vec::new(),
            judged: Vec::new(),
        }
    }

    /// Adds something to see.
    pub(crate) fn saw(mut self, what: impl fmt::Display) -> Self {
        self.seen.push(what.to_string());
        self
    }

    /// Adds a figure that is to be `target` or more.
    pub(crate) fn at_least(self, what: &str, value: f64, target: f64) -> Self {
        self.judge(what, value, target, true)
    }

    /// Adds a figure that is to be `target` or less.
    pub(crate) fn at_most(self, what: &str, value: f64, target: f64) -> Self {
        self.judge(what, value, target, false)
    }

    fn judge(mut self, what: &str, value: f64, target: f64, at_least: bool) -> Self {
        self.judged.push(Figure {
            what: what.to_owned(),
            value,
            target,
            at_least,
            ok: if at_least { value >= target } else { value <= target },
        });
        self
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.id, self.name)?;
        for seen in &self.seen {
            write!(f, "{seen}, ")?;
        }
        for (n, figure) in self.judged.iter().enumerate() {
            let Figure {
                what, value, target, ..
            } = figure;
            let bound = if figure.at_least { "at least" } else { "at most" };
            let verdict = if figure.ok { "ok" } else { "short" };
            let pause = if n == 0 { "" } else { "; " };
            write!(f, "{pause}{what} {value:.2}, target {bound} {target:.2}, {verdict}")?;
        }
        Ok(())
    }
}

/// The newest row of each name, and the machine that they were measured on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    machine: String,
    rows: Vec<Row>,
}

impl Report {
    /// The results of earlier runs; empty if there are none, or in another format.
    pub(crate) fn read(path: &Path) -> Self {
        let rows = std::fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
            .map_or(Vec::new(), |report| report.rows);
        Self {
            machine: machine(),
            rows,
        }
    }

    pub(crate) fn put(&mut self, row: Row) {
        self.rows.retain(|old| old.name != row.name);
        self.rows.push(row);
        self.rows.sort_by(|a, b| a.id.cmp(&b.id));
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// A description of the machine.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let line = |path: &str, name: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let model = line("/proc/cpuinfo", "model name");
    let memory = line("/proc/meminfo", "MemTotal");
    format!("{cores} cores of {model}, {memory} of memory, {}", std::env::consts::OS)
}

/// A whole number with its thousands apart.
pub(crate) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle of some values; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value below which this share of the values is; NaN for no values.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    // The index is within the length, and a share is never negative.
    sorted
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_line_shows_missed_targets() {
        let row = Row::new("P2", "inbound")
            .saw("9,100/s")
            .at_least("ratio", 0.651, 0.6)
            .at_most("p99", 7.0, 5.0);
        assert_eq!(
            row.to_string(),
            "P2 inbound: 9,100/s, ratio 0.65, target at least 0.60, ok; p99 7.00, target at most 5.00, short"
        );
    }

    #[test]
    fn numbers_are_formatted_for_people() {
        assert_eq!(
            [9.0, 999.6, 12345.0, 1_000_000.0].map(whole),
            ["9", "1,000", "12,345", "1,000,000"]
        );
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 1.0), 3.0);
        assert!(median(&[]).is_nan());
    }
}
