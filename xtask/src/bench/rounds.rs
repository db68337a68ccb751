//! The order of a suite: every case once, then every case again.

use anyhow::{Error, Result};

use super::Bench;
use super::results::{Measure, Measured};
use crate::say::say;

/// Something that a suite measures in every round.
pub(super) trait Case {
    /// What it is called in the results.
    fn path(&self) -> String;
    /// What the suite varies.
    fn at(&self) -> Option<u64> {
        None
    }
}

/// One figure of one round.
pub(super) type Reading = (Measure, f64);

/// Measures all cases in turn. One that fails is left out, and the reason is noted.
pub(super) fn in_turn<C: Case>(
    bench: &Bench,
    into: &mut Measured,
    cases: Vec<C>,
    measure: impl FnMut(&C, usize) -> Result<Vec<Reading>>,
) -> Result<()> {
    in_rounds(bench, bench.rounds(), into, cases, measure)
}

/// [`in_turn`], that many times.
pub(super) fn in_rounds<C: Case>(
    bench: &Bench,
    rounds: usize,
    into: &mut Measured,
    mut cases: Vec<C>,
    mut measure: impl FnMut(&C, usize) -> Result<Vec<Reading>>,
) -> Result<()> {
    for round in 0..rounds {
        say(format_args!("  round {} of {rounds}", round + 1));
        let mut failed = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            bench.interrupt.check()?;
            match measure(case, round) {
                Ok(readings) => {
                    for (measure, value) in readings {
                        into.add(&case.path(), case.at(), measure, value);
                    }
                }
                Err(error) => {
                    bench.interrupt.check()?;
                    leave_out(into, case, &error);
                    failed.push(index);
                }
            }
        }
        for index in failed.into_iter().rev() {
            drop(cases.remove(index));
        }
    }
    Ok(())
}

fn leave_out(into: &mut Measured, case: &impl Case, error: &Error) {
    let at = case.at().map(|at| format!(" at {at}")).unwrap_or_default();
    let note = format!("{}{at} was left out: {error:#}", case.path());
    say(format_args!("  {note}"));
    into.leave_out(&case.path(), case.at());
    into.note(note);
}
