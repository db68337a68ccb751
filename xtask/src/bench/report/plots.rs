//! Which results are drawn, and how.

use super::{bars, dots, lines};
use crate::bench::results::{DIRECT, Measure, Measured, Results};
use crate::bench::suite::Suite;

/// The load at which latencies are drawn.
const LOAD: u64 = 70;

/// Every plot that there are results for: its name, and its text.
pub(super) fn all(results: &Results) -> Vec<(&'static str, String)> {
    let plot = |suite, draw: fn(&Measured) -> String| results.suite(suite).map(draw);
    let plots = [
        ("connect", plot(Suite::Connect, connect)),
        ("instances", plot(Suite::Instances, instances)),
        ("tail", plot(Suite::Tail, tail)),
    ];
    plots.into_iter().filter_map(|(name, plot)| Some((name, plot?))).collect()
}

fn connect(measured: &Measured) -> String {
    let row = |path| {
        let series = measured.get(path, None, Measure::ConnectionsPerSecond)?;
        Some((path, measured.ratio(series, DIRECT)?))
    };
    let rows: Vec<bars::Row<'_>> = measured.paths().into_iter().filter_map(row).collect();
    bars::draw("New connections a second through 8 instances, direct = 100 %", &rows)
}

fn instances(measured: &Measured) -> String {
    let line = |path| {
        let series = measured.series.iter().filter(|series| series.path == path);
        let points = series.filter_map(|series| Some((series.at?, measured.ratio(series, DIRECT)?.median)));
        (path, points.collect())
    };
    let paths = measured.paths().into_iter().filter(|&path| path != DIRECT);
    let lines: Vec<lines::Line<'_>> = paths.map(line).collect();
    lines::draw("New connections a second, direct = 100 %", "instances", &lines)
}

fn tail(measured: &Measured) -> String {
    let row = |path| {
        let median = |measure| Some(measured.get(path, Some(LOAD), measure)?.median());
        let values = [
            median(Measure::P50Milliseconds)?,
            median(Measure::P99Milliseconds)?,
            median(Measure::P999Milliseconds)?,
        ];
        Some((path, values))
    };
    let rows: Vec<dots::Row<'_>> = measured.paths().into_iter().filter_map(row).collect();
    dots::draw("Latency at 70 % of the workers' capacity", &rows)
}
