//! What wocut is to reach, beside what it reached.

use super::tables::{number, row};
use crate::bench::figures::Spread;
use crate::bench::peer::Peer;
use crate::bench::results::{DIRECT, Measure, Measured, Results, Series};
use crate::bench::suite::Suite;

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(&self, value: f64) -> bool {
        match *self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn words(&self) -> String {
        match *self {
            Self::AtLeast(bound) => format!("at least {}", exact(bound)),
            Self::AtMost(bound) => format!("at most {}", exact(bound)),
        }
    }
}

/// One figure of one suite, found by path and number.
struct Of<'a> {
    measured: Option<&'a Measured>,
    measure: Measure,
}

impl<'a> Of<'a> {
    fn series(&self, path: &str, at: Option<u64>) -> Option<&'a Series> {
        self.measured?.get(path, at, self.measure)
    }

    fn median(&self, path: &str, at: Option<u64>) -> Option<f64> {
        Some(self.series(path, at)?.median())
    }

    /// The median of ratios, pair by pair, of one path and number to another.
    fn ratio(&self, path: (&str, Option<u64>), base: (&str, Option<u64>)) -> Option<f64> {
        let (series, base) = (self.series(path.0, path.1)?, self.series(base.0, base.1)?);
        Some(Spread::of_ratios(&series.rounds, &base.rounds)?.median)
    }
}

/// With the digits that tell reached from not reached.
fn exact(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.3}") } else { number(value) }
}

/// The smallest of the policies' figures.
fn best(figure: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    Peer::policies().filter_map(|peer| figure(&peer.name())).reduce(f64::min)
}

/// The table of goals that there are results for.
pub(super) fn table(results: &Results) -> String {
    let mut text = String::from("| goal | is to be | was | |\n|---|---|---|---|\n");
    for (words, bound, value) in goals(results) {
        if let Some(value) = value {
            let met = if bound.holds(value) { "reached" } else { "**not reached**" };
            text += &row(&[&words, &bound.words(), &exact(value), met]);
        }
    }
    text
}

type Goal = (String, Bound, Option<f64>);

fn goals(results: &Results) -> Vec<Goal> {
    let of = |suite, measure| Of { measured: results.suite(suite), measure };
    let mut goals: Vec<Goal> = Vec::new();
    let mut goal = |words: &str, bound, value| goals.push((words.to_owned(), bound, value));
    let (ebpf, iptables) = (&*Peer::EBPF.name(), &*Peer::IPTABLES.name());
    let (legacy, nft) = (&*Peer::LEGACY.name(), &*Peer::NFT.name());
    let haproxy = &*Peer::HAPROXY_LEASTCONN.name();

    let connect = of(Suite::Connect, Measure::ConnectionsPerSecond);
    goal("connect: ebpf to direct", Bound::AtLeast(0.97), connect.ratio((ebpf, None), (DIRECT, None)));
    let proxy = Peer::HAPROXY_RANDOM.name();
    goal("connect: ebpf to HAProxy", Bound::AtLeast(1.7), connect.ratio((ebpf, None), (&proxy, None)));

    let instances = of(Suite::Instances, Measure::ConnectionsPerSecond);
    let at = |path, instances| (path, Some(instances));
    let many = instances.ratio(at(ebpf, 1024), at(ebpf, 8));
    goal("instances: ebpf at 1024 to itself at 8", Bound::AtLeast(0.97), many);
    for (count, times) in [(8, 1.35), (128, 1.7)] {
        for rules in [legacy, nft] {
            let words = format!("instances: ebpf to {rules} at {count}");
            goal(&words, Bound::AtLeast(times), instances.ratio(at(ebpf, count), at(rules, count)));
        }
    }
    for rules in [legacy, nft] {
        let words = format!("instances: wocut iptables to {rules} at 128");
        goal(&words, Bound::AtLeast(1.2), instances.ratio(at(iptables, 128), at(rules, 128)));
    }

    let trips = of(Suite::Open, Measure::RoundTripsPerSecond);
    goal(
        "open: round trips, ebpf to direct",
        Bound::AtLeast(0.99),
        trips.ratio((ebpf, None), (DIRECT, None)),
    );
    let bulk = of(Suite::Open, Measure::MebibytesPerSecond);
    goal("open: bulk, ebpf to direct", Bound::AtLeast(0.99), bulk.ratio((ebpf, None), (DIRECT, None)));
    let runs = of(Suite::Open, Measure::ProgramRunsPerRoundTrip);
    // The 64 connections of that reading end within it, and `account` hears of each.
    goal("open: program runs a round trip", Bound::AtMost(0.1), runs.median(ebpf, None));

    let run = of(Suite::Kernel, Measure::NanosecondsPerRun);
    let lookup = format!("lookup, {ebpf}");
    for count in [8, 1024] {
        let words = format!("kernel: ns a run of `lookup` at {count} instances");
        goal(&words, Bound::AtMost(150.0), run.median(&lookup, Some(count)));
    }
    let whole = of(Suite::Kernel, Measure::NanosecondsPerConnection);
    let account = format!("account, {ebpf}");
    goal("kernel: ns of `account` a connection", Bound::AtMost(200.0), whole.median(&account, Some(8)));

    let services = of(Suite::Services, Measure::ConnectionsPerSecond);
    let thousand = services.ratio(at(ebpf, 1000), at(ebpf, 1));
    goal("services: 1000 attached to 1", Bound::AtLeast(0.97), thousand);

    let tail = of(Suite::Tail, Measure::P99Milliseconds);
    let to = |base| best(|path| tail.ratio((path, Some(70)), (base, Some(70))));
    goal("tail: p99 at 70 %, best policy to random", Bound::AtMost(0.35), to(ebpf));
    goal("tail: p99 at 70 %, best policy to HAProxy leastconn", Bound::AtMost(1.0), to(haproxy));

    let stuck = of(Suite::Stall, Measure::StuckRequests);
    let words = "stall: requests that waited for the stopped worker, best policy";
    // One is what the worker has accepted.
    goal(words, Bound::AtMost(1.0), best(|path| stuck.median(path, None)));

    let attach = of(Suite::Control, Measure::AttachMilliseconds);
    goal("control: ms of attach at 256, ebpf", Bound::AtMost(50.0), attach.median(ebpf, Some(256)));
    goal("control: ms of attach at 256, iptables", Bound::AtMost(200.0), attach.median(iptables, Some(256)));
    let change = of(Suite::Control, Measure::ChangeMilliseconds);
    goal(
        "control: ms of a weight's change at 256, ebpf",
        Bound::AtMost(10.0),
        change.median(ebpf, Some(256)),
    );
    goals
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::bench::machine::Machine;
    use crate::bench::results::{DIRECT, Measure, Measured, Results};
    use crate::bench::suite::Suite;

    #[test]
    fn a_goal_is_judged_by_the_median_of_ratios() {
        let mut measured = Measured::new(Suite::Connect);
        for (direct, ebpf) in [(100.0, 98.0), (1000.0, 960.0), (10.0, 9.9)] {
            measured.add(DIRECT, None, Measure::ConnectionsPerSecond, direct);
            measured.add("wocut ebpf random", None, Measure::ConnectionsPerSecond, ebpf);
        }
        let mut results = Results::new(Machine::sample(), true);
        results.suites.push(measured);
        let table = table(&results);
        assert!(table.contains("| connect: ebpf to direct | at least 0.970 | 0.980 | reached |"), "{table}");
        assert!(!table.contains("HAProxy"), "{table}");
    }
}
