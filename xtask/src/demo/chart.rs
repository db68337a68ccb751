//! A table with bars.

use super::client::Tally;
use crate::say::say;

/// Prints who got how many connections.
pub(super) fn print(tally: &Tally) {
    let most = tally.answers.values().copied().max().unwrap_or(1).max(1);
    for (instance, count) in &tally.answers {
        let percent = 100.0 * f64::from(u32::try_from(*count).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(tally.total()).unwrap_or(u32::MAX));
        let bar = "█".repeat(usize::try_from(40 * count / most).unwrap_or(0));
        say(format_args!("  {instance:<6} {count:>6}  {percent:>5.1} %  {bar}"));
    }
}
