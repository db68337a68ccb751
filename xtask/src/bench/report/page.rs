//! docs/benchmarks.md.

use super::{goals, plots, tables};
use crate::bench::results::{Measured, Results};

const HEAD: &str = "\
# Benchmarks

<!-- Made from benchmarks/results.json by `cargo xtask bench --report`; `cargo xtask check` compares. -->

`cargo xtask bench` compares wocut with everything else that could do its work, all of it real, each suite in one run. Clients
are pinned to one core, servers and whatever is before them to another; each peer has two network namespaces of its own
with a veth cable between. A round measures every path once, one after the other, so that a busy moment of the machine
hits all alike; where `chrt` is at hand, everything that is measured also runs ahead of what else the machine does
(`SCHED_FIFO`), the kernel's threads for packets included. What stands here are medians of rounds, and after × the
median of the rounds' ratios to `direct` in the same round, with the smallest and the largest. Absolute figures are of
the machine; the ratios are what to look at.

`direct` is one listener on the service port. Proxies run one thread, since the servers have one core. The original's
rules are those that the first wocut made. Conntrack follows what passes rules of `nat` tables, as it does in use.
";

pub(super) fn page(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "{HEAD}\n{}, {} cores, Linux {}, {}; {}.\n\n## Goals\n\n{}",
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.distribution,
        machine.programs.join(", "),
        goals::table(results),
    );
    let plots = plots::all(results);
    for measured in &results.suites {
        let name = measured.suite.to_string();
        let plot = plots.iter().any(|(plot, _)| *plot == name);
        text += &section(measured, &name, plot);
    }
    text
}

fn section(measured: &Measured, name: &str, plot: bool) -> String {
    let plot = if plot { format!("![{name}](benchmarks/{name}.svg)\n\n") } else { String::new() };
    let notes: String =
        measured.notes.iter().map(|note| ["* ", &note.replace('\n', " "), "\n"].concat()).collect();
    let rounds = measured.series.iter().map(|series| series.rounds.len()).max().unwrap_or_default();
    let text = format!(
        "\n## {name}\n\n{}; {rounds} rounds.\n\n{plot}{}{notes}",
        sentence(measured.suite.what()),
        tables::of(measured)
    );
    text.trim_end().to_owned() + "\n"
}

/// With a capital.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::bench::machine::Machine;
    use crate::bench::results::{DIRECT, Measure, Measured, Results};
    use crate::bench::suite::Suite;

    #[test]
    fn a_page_names_machine_suites_and_what_was_left_out() {
        let mut measured = Measured::new(Suite::Connect);
        measured.add(DIRECT, None, Measure::ConnectionsPerSecond, 10_000.0);
        measured.note("nginx stream was left out: nginx is not installed".into());
        let mut results = Results::new(Machine::sample(), false);
        results.suites.push(measured);
        let page = page(&results);
        assert!(page.contains("Linux 6.18.0"), "{page}");
        assert!(
            page.contains("\n## connect\n") && page.contains("![connect](benchmarks/connect.svg)"),
            "{page}"
        );
        assert!(page.ends_with("* nginx stream was left out: nginx is not installed\n"), "{page}");
    }
}
