//! `wocut top [NAME]`: services and instances as they are now, and again, and again.
//!
//! `rates` compares two looks, `row` is one line, `view` all of them with what the keys do, and these are pure. `draw`
//! puts a view on a screen, `screen` is the loop on a terminal and `lines` the one without. A look is a `status`: it holds
//! no lock, and between looks nothing is held at all.

mod draw;
#[cfg(test)]
pub(super) mod fixture;
mod lines;
mod rates;
mod row;
mod screen;
mod view;

use std::{
    io::{IsTerminal as _, stdin, stdout},
    time::Duration,
};

use clap::Args;

use super::Context;
use crate::model::Name;

/// Watch services and instances: shares, picks a second, open connections
///
/// On a terminal j, k and the arrows select, d drains and r makes ready the selected instance, s sorts, / filters, q
/// quits. Elsewhere, and with --json or --count, it prints a line for each at every look.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  wocut top\n  wocut top web --interval 5s\n  wocut top --json --count 60"
)]
pub(super) struct Top {
    /// One service
    name: Option<Name>,
    /// From one look to the next: 100 ms to 1 h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Print this many looks, then end
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl Top {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let Self { name, interval, count } = self;
        let is_seen = stdout().is_terminal() && stdin().is_terminal();
        if is_seen && count.is_none() && !context.printer.json() {
            return screen::show(context, name.as_ref(), interval);
        }
        lines::print(context, name.as_ref(), interval, count)
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = Duration::from_millis(100)..=Duration::from_hours(1);
    if allowed.contains(&interval) { Ok(interval) } else { Err("it is 100 ms to 1 h".into()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::interval;

    #[test]
    fn interval_that_would_only_look_is_refused() {
        assert_eq!(interval("1500ms"), Ok(Duration::from_millis(1500)));
        assert!(interval("0s").is_err() && interval("99ms").is_err() && interval("2h").is_err());
        assert!(interval("soon").is_err());
    }
}
