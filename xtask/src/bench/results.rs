//! What a run measured, as the JSON file has it.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::figures::Spread;
use super::machine::Machine;
pub(super) use super::measure::Measure;
use super::suite::Suite;

/// The path that all ratios are against.
pub(super) const DIRECT: &str = "direct";

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Results {
    pub(super) schema: u32,
    pub(super) machine: Machine,
    pub(super) quick: bool,
    pub(super) suites: Vec<Measured>,
}

/// A suite's results.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Measured {
    pub(super) suite: Suite,
    pub(super) series: Vec<Series>,
    /// What a reader has to know, as what was left out and why.
    pub(super) notes: Vec<String>,
}

/// One figure of one path, round by round.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Series {
    pub(super) path: String,
    /// What a suite varies: instances, services, per cent of capacity.
    pub(super) at: Option<u64>,
    pub(super) measure: Measure,
    pub(super) rounds: Vec<f64>,
}

impl Results {
    pub(super) fn new(machine: Machine, quick: bool) -> Self {
        Self { schema: 1, machine, quick, suites: Vec::new() }
    }

    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("write results as JSON")? + "\n")
    }

    pub(super) fn parse(json: &str) -> Result<Self> {
        serde_json::from_str(json).context("read results")
    }

    pub(super) fn suite(&self, suite: Suite) -> Option<&Measured> {
        self.suites.iter().find(|measured| measured.suite == suite)
    }
}

impl Measured {
    pub(super) fn new(suite: Suite) -> Self {
        Self { suite, series: Vec::new(), notes: Vec::new() }
    }

    /// Notes something once.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Adds a round's value.
    pub(super) fn add(&mut self, path: &str, at: Option<u64>, measure: Measure, value: f64) {
        let same = |series: &&mut Series| (&*series.path, series.at, series.measure) == (path, at, measure);
        match self.series.iter_mut().find(same) {
            Some(series) => series.rounds.push(value),
            None => {
                self.series.push(Series { path: path.to_owned(), at, measure, rounds: vec![value] });
            }
        }
    }

    /// Takes a case out, whatever it measured before.
    pub(super) fn leave_out(&mut self, path: &str, at: Option<u64>) {
        self.series.retain(|series| (&*series.path, series.at) != (path, at));
    }

    /// One figure of one path.
    pub(super) fn get(&self, path: &str, at: Option<u64>, measure: Measure) -> Option<&Series> {
        self.series.iter().find(|series| (&*series.path, series.at, series.measure) == (path, at, measure))
    }

    /// A figure as a multiple of another path's, pair by pair.
    pub(super) fn ratio(&self, series: &Series, base: &str) -> Option<Spread> {
        let base = self.get(base, series.at, series.measure)?;
        Spread::of_ratios(&series.rounds, &base.rounds)
    }

    /// Every path, in the order of the first round.
    pub(super) fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = Vec::new();
        for series in &self.series {
            if !paths.contains(&&*series.path) {
                paths.push(&series.path);
            }
        }
        paths
    }
}

impl Series {
    pub(super) fn spread(&self) -> Option<Spread> {
        Spread::of(&self.rounds)
    }

    pub(super) fn median(&self) -> f64 {
        self.spread().map_or(0.0, |spread| spread.median)
    }
}

#[cfg(test)]
mod tests {
    use super::{DIRECT, Measure, Measured, Results};
    use crate::bench::machine::Machine;
    use crate::bench::suite::Suite;

    fn measured() -> Measured {
        let mut measured = Measured::new(Suite::Connect);
        for (direct, ebpf) in [(100.0, 90.0), (200.0, 190.0), (400.0, 396.0)] {
            measured.add(DIRECT, None, Measure::ConnectionsPerSecond, direct);
            measured.add("ebpf", None, Measure::ConnectionsPerSecond, ebpf);
        }
        measured
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let mut results = Results::new(Machine::sample(), true);
        results.suites.push(measured());
        let json = results.json().unwrap();
        assert!(json.contains("\"connections_per_second\""));
        assert_eq!(Results::parse(&json).unwrap(), results);
    }

    #[test]
    fn a_ratio_is_against_the_same_round() {
        let measured = measured();
        let ebpf = measured.get("ebpf", None, Measure::ConnectionsPerSecond).unwrap();
        let ratio = measured.ratio(ebpf, DIRECT).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.95, 0.9, 0.99));
    }

    #[test]
    fn a_case_that_failed_leaves_nothing() {
        let mut measured = measured();
        measured.leave_out("ebpf", None);
        assert_eq!(measured.paths(), [DIRECT]);
    }
}
