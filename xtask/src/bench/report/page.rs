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

/// What was found out of goals that are not reached on every run, or on none. With new results, read it again.
const CAUSES: &str = "\
## Why some are not reached

* **`lookup`** takes 200 ns at 8 instances and 240 ns at 1,024 when it runs again and again for one client (`bpftool prog run
  pinned …/lookup ctx_in FILE repeat 200000`), so the work itself hardly grows. In traffic it takes three to eight times as
  long: between two picks the processor does 40 µs of other work, and what a pick touches is out of its caches, a line or two
  of each of ten maps and of the socket. At 1,024 instances the slot table (128 KiB), the counters and the sockets are too
  many to stay in any, which is also what `instances` loses there. `least-conn` looks at up to 32 sockets, as cold.
* **`account`** runs 11 times a connection in these figures, as client and servers are on one host and the kernel calls a
  `sock_ops` program for both ends. It asks to be called for changes of state alone (`BPF_SOCK_OPS_STATE_CB`), and for
  sockets that may be of a service; the other calls come unasked (`tcp_call_bpf` in include/net/tcp.h) and are left at the
  first branch. Two of these runs, with their counting, are as much as the goal.
* **`connect`** moves with the machine: 0.89 to 0.98 of `direct` in four runs of nine rounds. On a machine whose rounds differ by
  a third, so do all ratios of paths that are close: that of `instances` at 8 among them.
* **1.35 times the original's rules at 8 instances**: these cost 15 to 24 % of the rate here, so nothing at all in the way is 1.18
  to 1.3 times as fast. At 128 it is 1.8 to 2 times, and against HAProxy 1.7 to 1.9 times, so the goals of 1.7 leave 0.85
  to 1.0 of `direct` for wocut.
* **`attach`**: most of it is the kernel's check of the programs; 41 to 59 ms in five runs.
* **A weight's change** is two writes and a start of the process; one in 16 waits until no pick reads an old table.
";

pub(super) fn page(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "{HEAD}\n{}, {} cores, Linux {}, {}; {}.\n\n## Goals\n\n{}\n{CAUSES}",
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
