//! Every kind of change, at random, while clients connect.

use std::collections::BTreeMap;

use wocut_tests::daemon::Daemon;
use wocut_tests::emulated::times;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::held::Held;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::random::Random;

const PORTS: [u16; 8] = [8001, 8002, 8003, 8004, 8005, 8006, 8007, 8008];
const CHANGES: u64 = 100;

/// What the commands so far have asked for: instances with weight and whether they are ready; nothing when detached.
#[derive(Default)]
struct Wanted(Option<BTreeMap<u16, (u32, bool)>>);

impl Wanted {
    /// The next command, and what is wanted after it.
    fn change(&mut self, random: &mut Random) -> String {
        let Some(instances) = &mut self.0 else { return self.attach(random) };
        let present: Vec<u16> = instances.keys().copied().collect();
        let absent: Vec<u16> = PORTS.into_iter().filter(|port| !instances.contains_key(port)).collect();
        let port = random.pick(&present);
        match random.below(12) {
            0 => {
                self.0 = None;
                "detach web".to_owned()
            }
            1..=3 if !absent.is_empty() => {
                let port = random.pick(&absent);
                instances.insert(port, (1, true));
                format!("add web {port}")
            }
            4 | 5 if present.len() > 1 => {
                instances.remove(&port);
                format!("remove web {port}")
            }
            6 | 7 => {
                let weight = random.below(10);
                instances.entry(port).and_modify(|(had, _)| *had = weight);
                format!("weight web {port} {weight}")
            }
            8 => set(instances, port, "drain"),
            9 => set(instances, port, "maint"),
            _ => set(instances, port, "ready"),
        }
    }

    fn attach(&mut self, random: &mut Random) -> String {
        let count = 1 + random.below(4) as usize;
        let instances = PORTS.iter().take(count).map(|&port| (port, (1, true))).collect();
        self.0 = Some(instances);
        let ports: Vec<String> = PORTS.iter().take(count).map(ToString::to_string).collect();
        format!("web 80/tcp to {}", ports.join(" "))
    }

    /// Who may answer now.
    fn serving(&self) -> Vec<u16> {
        let instances = self.0.iter().flatten();
        let ready: Vec<u16> =
            instances.filter(|(_, state)| state.0 > 0 && state.1).map(|(&port, _)| port).collect();
        if ready.is_empty() { vec![SERVICE] } else { ready }
    }
}

fn set(instances: &mut BTreeMap<u16, (u32, bool)>, port: u16, verb: &str) -> String {
    instances.entry(port).and_modify(|(_, ready)| *ready = verb == "ready");
    format!("{verb} web {port}")
}

engines! { random_changes_under_load_break_nothing: ebpf tc nft legacy }
fn random_changes_under_load_break_nothing(engine: Engine) {
    let host = Host::with_firewall(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let _daemons = Daemon::pythons(&host.lan.server, PORTS);
    let load = host.load(4);
    let mut held = Vec::new();
    let mut wanted = Wanted::default();
    let mut random = Random::seeded();
    for (family, _) in Family::BOTH.into_iter().cycle().zip(0..times(CHANGES)) {
        let command = wanted.change(&mut random);
        if command.starts_with("web") { host.attach(&command) } else { host.wocut(&command) }.ok();
        held.push(Held::open(&host.lan.client, host.lan.at(family, SERVICE)));
        random.one_of(&mut held).alive();
        load.go_on(20);
        host.burst(family, 50).no_failure().among(&wanted.serving());
    }
    held.iter_mut().for_each(Held::alive);
    load.stop().no_failure();
}
