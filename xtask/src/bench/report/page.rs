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

* **`lookup` and `account`**: the kernel counts some 60 ns a run for a `lookup` that does nothing, and 50 ns for an
  `account` (`nothing` below): time to look at the clock. An `account` that does nothing is run 9 times a connection, as
  client and servers are on one host and the kernel calls a `sock_ops` program for both ends (`tcp_call_bpf` in
  include/net/tcp.h): that alone is more than twice the goal. The real one asks for two runs more (changes of state, for
  sockets of a service), and leaves all others at the first branch.
* **`lookup`** takes 185 ns at 8 instances when it runs again and again for one client (`bpftool prog run pinned …/lookup
  ctx_in FILE repeat 300000`). In traffic the processor does 40 µs of other work between two picks, and what a pick touches is
  out of its caches. Most of that is what the kernel reads next in any case: the listener, its queues, settings of the
  namespace. At 1,024 instances the slot table (128 KiB), the counters and the sockets are too many to stay in any cache, which
  is also what `instances` loses there. `least-conn` looks at up to 32 sockets, as cold.
* **`connect`**: what costs most is the note of its instance that each connection inherits from its listener, a socket storage
  (`BPF_F_CLONE`): two pieces of memory, which are freed by way of RCU, 2.6 to 3.9 µs. Measured on one socket after the
  other, 15 rounds each: 0.961 to 0.970 of `direct` as it is; 0.952 with the notes and without `account`; 0.998 when the notes
  are taken off the listeners, where `account` is called as often, but finds nothing to count. The kernel shows `account` no other way from a
  connection to its listener, and `status`, `--wait` and `--kill` go by that note. A program at the return of
  `inet_csk_reqsk_queue_add` (`fexit`) would see both, but takes `CAP_PERFMON` and the name of a function that may change,
  and would keep in a table of fixed size what now is with each socket. It is not measured: the kernel of these figures loads no
  program for a function (EPERM; those for tracepoints it does, and no tracepoint shows both). In the run
  below a connection takes 3.1 µs more in all: the note, `lookup` with 0.4 and `account` with up to 0.9, half of which is its clock.
* **1.35 times the original's rules at 8 instances**: these cost 15 to 24 % of the rate here, so nothing at all in the way is 1.18
  to 1.3 times as fast. At 128 it is 1.7 to 2 times, and against HAProxy 1.6 to 1.9 times, so the goals of 1.7 leave 0.85
  to 1.0 of `direct` for wocut.
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
