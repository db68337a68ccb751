//! Results as Markdown tables.

use crate::bench::figures::Spread;
use crate::bench::results::{DIRECT, Measure, Measured, Results, Series};
use crate::bench::suite::Suite;

/// README's: new connections by path.
pub(super) fn main(results: &Results) -> String {
    let Some(measured) = results.suite(Suite::Connect) else { return String::new() };
    let mut text = String::from("| path | new connections | CPU time of the host |\n|---|---|---|\n");
    for path in measured.paths() {
        let part = |measure| {
            let series = measured.get(path, None, measure)?;
            Some(percent(measured.ratio(series, DIRECT)?))
        };
        let rate = part(Measure::ConnectionsPerSecond).unwrap_or_default();
        let cost = part(Measure::HostMicrosecondsPerConnection).unwrap_or_default();
        text += &row(&[path, &rate, &cost]);
    }
    text
}

fn percent(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{:.1} % ({:.0} to {:.0})", median * 100.0, min * 100.0, max * 100.0)
}

/// A line of a table.
pub(super) fn row(cells: &[&str]) -> String {
    ["| ", &cells.join(" | "), " |\n"].concat()
}

/// A suite's: one table a figure, with a column for each number that the suite varies.
pub(super) fn of(measured: &Measured) -> String {
    let mut measures: Vec<Measure> = Vec::new();
    for series in &measured.series {
        if !measures.contains(&series.measure) {
            measures.push(series.measure);
        }
    }
    measures.into_iter().map(|measure| table(measured, measure)).collect()
}

fn table(measured: &Measured, measure: Measure) -> String {
    let with: Vec<&Series> = measured.series.iter().filter(|series| series.measure == measure).collect();
    let mut numbers: Vec<Option<u64>> = with.iter().map(|series| series.at).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let heads = numbers.iter().map(|at| at.map_or_else(|| " median".into(), |at| format!(" at {at}")));
    let heads: Vec<String> = heads.collect();
    let mut text =
        format!("| {} |{} |\n|---|{}\n", measure.words(), heads.join(" |"), "---|".repeat(heads.len()));
    let paths = measured.paths().into_iter().filter(|path| with.iter().any(|series| series.path == *path));
    for path in paths {
        let cells = numbers.iter().map(|&at| {
            let series = measured.get(path, at, measure);
            series.map(|series| cell(measured, series)).unwrap_or_default()
        });
        text += &row(&[path, &cells.collect::<Vec<_>>().join(" | ")]);
    }
    text + "\n"
}

/// The median, and what it is of direct's.
fn cell(measured: &Measured, series: &Series) -> String {
    let value = number(series.median());
    match measured.ratio(series, DIRECT) {
        Some(_) if series.path == DIRECT => value,
        Some(Spread { median, min, max }) => format!("{value}; ×{median:.3} ({min:.2}–{max:.2})"),
        None => value,
    }
}

/// As many digits as mean something.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        100.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{main, number, of};
    use crate::bench::machine::Machine;
    use crate::bench::results::{DIRECT, Measure, Measured, Results};
    use crate::bench::suite::Suite;

    #[test]
    fn readme_has_parts_of_direct() {
        let mut measured = Measured::new(Suite::Connect);
        for (path, rate, cost) in [(DIRECT, 1000.0, 50.0), ("wocut ebpf random", 970.0, 51.0)] {
            measured.add(path, None, Measure::ConnectionsPerSecond, rate);
            measured.add(path, None, Measure::HostMicrosecondsPerConnection, cost);
        }
        let mut results = Results::new(Machine::sample(), true);
        results.suites.push(measured);
        assert!(main(&results).contains("| wocut ebpf random | 97.0 % (97 to 97) | 102.0 % (102 to 102) |"));
    }

    #[test]
    fn a_number_that_varies_is_a_column() {
        let mut measured = Measured::new(Suite::Services);
        for (at, rate) in [(1, 200.0), (1000, 100.0)] {
            measured.add(DIRECT, Some(at), Measure::ConnectionsPerSecond, 200.0);
            measured.add("wocut", Some(at), Measure::ConnectionsPerSecond, rate);
        }
        let table = of(&measured);
        assert!(table.starts_with("| connections/s | at 1 | at 1000 |\n|---|---|---|\n"), "{table}");
        assert!(table.contains("| wocut | 200; ×1.000 (1.00–1.00) | 100; ×0.500 (0.50–0.50) |"), "{table}");
    }

    #[test]
    fn digits_follow_the_size() {
        assert_eq!([0.0, 0.0123, 1.25, 12345.6].map(number), ["0", "0.012", "1.2", "12346"]);
    }
}
