//! A suite's results on the terminal.

use super::results::{DIRECT, Measured};
use crate::say::say;

/// Shows one line a figure: median, ends, and the ratio to direct with its ends.
pub(super) fn print(measured: &Measured) {
    for series in &measured.series {
        let Some(spread) = series.spread() else { continue };
        let at = series.at.map(|at| at.to_string()).unwrap_or_default();
        let ratio = measured
            .ratio(series, DIRECT)
            .map(|ratio| format!("{:>6.3} ({:.3} to {:.3})", ratio.median, ratio.min, ratio.max));
        say(format_args!(
            "  {:<28} {at:>5} {:>12.1} {:<24} {:<26} {:.1} to {:.1}",
            series.path,
            spread.median,
            series.measure.words(),
            ratio.unwrap_or_default(),
            spread.min,
            spread.max,
        ));
    }
    for note in &measured.notes {
        say(format_args!("  note: {note}"));
    }
}
