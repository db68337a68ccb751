//! `top` where nobody sees a terminal: a line a service and instance, at every look after the first.

use std::{
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use humantime::format_rfc3339_millis;
use serde::Serialize;

use super::{
    row::{HEADER, Row, WIDTHS, WORDS},
    view::View,
};
use crate::{
    cli::{Context, printer::Printer},
    model::Name,
};

/// Stands for the instance of a service as a whole.
const ALL: &str = "(all)";

#[derive(Serialize)]
struct Told {
    time: String,
    #[serde(flatten)]
    row: Row,
}

/// Prints so many looks, or goes on until nobody reads them.
pub(super) fn print(
    context: &Context<'_>,
    only: Option<&Name>,
    interval: Duration,
    count: Option<u64>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut view = View::new(context.status(only)?);
    let printer = context.printer;
    let mut is_read = printer.json() || printer.live(&header());
    for n in 1..=count.unwrap_or(u64::MAX) {
        // From the beginning on, so that looks do not come later and later.
        let due = interval.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
        sleep(due.saturating_sub(start.elapsed()));
        view.look(start.elapsed(), context.status(only)?);
        let time = format_rfc3339_millis(SystemTime::now()).to_string();
        for row in view.rows() {
            is_read = is_read && tell(printer, &time, row)?;
        }
        if !is_read {
            break;
        }
    }
    Ok(())
}

fn tell(printer: &Printer, time: &str, row: Row) -> anyhow::Result<bool> {
    if printer.json() {
        return Ok(printer.live(&serde_json::to_string(&Told { time: time.into(), row })?));
    }
    Ok(printer.live(&line(time, row.id.service.as_str(), instance(&row), &row.cells())))
}

fn instance(row: &Row) -> &str {
    row.id.instance.as_ref().map_or(ALL, Name::as_str)
}

fn header() -> String {
    line("TIME", "SERVICE", "INSTANCE", &HEADER.map(str::to_owned))
}

/// Columns have the same place in every line, whatever comes later.
fn line(time: &str, service: &str, instance: &str, cells: &[String; 8]) -> String {
    let name = Name::MAX;
    let cells = cells.iter().zip(WIDTHS).enumerate().map(|(n, (cell, width))| {
        if n < WORDS { format!(" {cell:<width$}") } else { format!(" {cell:>width$}") }
    });
    format!("{time:<24} {service:<name$} {instance:<name$}{}", cells.collect::<String>())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::{header, instance, line};
    use crate::cli::top::{
        fixture::{status, web},
        view::View,
    };

    #[test]
    fn columns_stand_under_their_header() {
        let rows = View::new(status(vec![web()])).rows();
        let time = "2026-01-02T03:04:05.678Z";
        let lines = rows.iter().map(|row| line(time, row.id.service.as_str(), instance(row), &row.cells()));
        let lines: Vec<String> = [header()].into_iter().chain(lines).collect();
        assert_snapshot!(lines.join("\n"), @r"
        TIME                     SERVICE                INSTANCE               ADMIN  HEALTH  LISTENS  SHARE  PICKS/S  ACTIVE  QUEUE FAILOVERS
        2026-01-02T03:04:05.678Z web                    (all)                  -      -       -            -        -       7      3         4
        2026-01-02T03:04:05.678Z web                    a                      ready  up      yes      75.0%        -       5      0         0
        2026-01-02T03:04:05.678Z web                    b                      backup unknown yes      25.0%        -       2      3         1
        2026-01-02T03:04:05.678Z web                    c                      drain  down    no        0.0%        -       -      -         3
        ");
    }
}
