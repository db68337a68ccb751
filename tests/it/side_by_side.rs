//! The same random commands and connections on two engines: where both can do it, nobody can tell them apart.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;
use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::random::Random;

const PORTS: [u16; 4] = [8001, 8002, 8003, 8004];
const STEPS: usize = 40;

/// What `status` says that is not a figure, and is not of the engine itself.
const OF_SERVICE: [&str; 5] = ["name", "listen", "policy", "guard", "on_empty"];
const OF_INSTANCE: [&str; 8] = ["name", "address", "port", "weight", "admin", "health", "listening", "share"];

/// What a user sees of one command, and of connections after it.
#[derive(Debug, PartialEq)]
struct Seen {
    command: String,
    code: Option<i32>,
    line: String,
    status: Vec<BTreeMap<String, Value>>,
    answered: Vec<BTreeSet<u16>>,
}

/// The next command. Some make no sense, and have to be refused alike.
fn command(random: &mut Random) -> String {
    let service = random.pick(&["web", "web", "web", "web", "api", "api", "nosuch"]);
    let port = random.pick(&PORTS);
    match random.below(16) {
        0..=3 => {
            let own = if service == "web" { "80/tcp" } else { "81/tcp" };
            let listen = random.pick(&[
                own,
                own,
                "80/tcp 81/tcp",
                "10.1.0.1:80/tcp",
                "[fd00:1::1]:81/tcp",
                "8003/tcp",
            ]);
            let policy = random.pick(&["random", "random", "random", "magic"]);
            let other = random.pick(&PORTS);
            let weight = random.below(4);
            format!("attach {service} {listen} to {port}*{weight} {other} --policy {policy}")
        }
        4 => format!("detach {service}"),
        5 | 6 => format!("add {service} {port}"),
        7 => format!("remove {service} {port}"),
        8..=10 => format!("weight {service} {port} {}", random.pick(&["0", "1", "2", "3", "257", "x"])),
        11 => format!("drain {service} {port}"),
        12 => format!("maint {service} {port}"),
        _ => format!("ready {service} {port}"),
    }
}

fn pick_fields(value: &Value, fields: &[&str]) -> BTreeMap<String, Value> {
    fields.iter().map(|field| ((*field).to_owned(), value[*field].clone())).collect()
}

fn status(host: &Host) -> Vec<BTreeMap<String, Value>> {
    let shown = host.wocut("status --json");
    if shown.code == Some(3) {
        return Vec::new();
    }
    let shown = shown.ok().json();
    let services = shown["services"].as_array().must("read the services");
    let parts = services.iter().flat_map(|service| {
        let instances = service["instances"].as_array().into_iter().flatten();
        let instances = instances.map(|instance| pick_fields(instance, &OF_INSTANCE));
        std::iter::once(pick_fields(service, &OF_SERVICE)).chain(instances)
    });
    parts.collect()
}

/// Runs the steps of one seed.
fn play(engine: Engine, random: &mut Random) -> Vec<Seen> {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, PORTS.into_iter().chain([SERVICE, 81]));
    let step = |n: usize| {
        let line = command(random);
        let full = if line.starts_with("attach") {
            format!("{line} --engine {}", engine.word())
        } else {
            line.clone()
        };
        let outcome = host.wocut(&full);
        let family = Family::BOTH[n % 2];
        let answered = [SERVICE, 81].map(|port| {
            let tally = burst(&host.lan.client, host.lan.at(family, port), 150);
            // Conntrack may send a few where they went before.
            tally
                .no_failure()
                .answers
                .iter()
                .filter(|(_, count)| **count > 2)
                .map(|(port, _)| *port)
                .collect()
        });
        let said = outcome.stdout.replace(&format!(", engine {}", engine.word()), "");
        Seen {
            command: line,
            code: outcome.code,
            line: said,
            status: status(&host),
            answered: answered.into(),
        }
    };
    (0..STEPS).map(step).collect()
}

mod engines_do_the_same {
    use super::{Engine, Random, need, play};

    fn beside(other: Engine) {
        need!(Engine::Ebpf.available());
        need!(other.available());
        let mut random = Random::seeded();
        let ebpf = play(Engine::Ebpf, &mut random.again());
        let rules = play(other, &mut random);
        for (n, (ebpf, rules)) in ebpf.iter().zip(&rules).enumerate() {
            assert_eq!(ebpf, rules, "step {n}");
        }
        let done = ebpf.iter().filter(|seen| seen.code == Some(0)).count();
        assert!(done > 0, "no command did anything");
    }

    #[test]
    fn nft() {
        beside(Engine::Nft);
    }

    #[test]
    fn legacy() {
        beside(Engine::Legacy);
    }
}
