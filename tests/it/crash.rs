//! Commands that are killed, and commands that meet.

use std::time::Duration;

use wocut_tests::daemon::Daemon;
use wocut_tests::emulated::times;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::burst;
use wocut_tests::random::Random;
use wocut_tests::wocut::{Outcome, Running};

/// How often each command of a round is killed, 200 in all; the flavours of iptables share those.
fn rounds(engine: Engine) -> u64 {
    times(if engine.is_ebpf() { 50 } else { 25 })
}

/// One command of a round, and which instances serve after it.
struct Step {
    command: String,
    serving: &'static [u16],
    took: Duration,
}

impl Step {
    fn round(host: &Host) -> [Self; 4] {
        let step =
            |command: &str, serving| Self { command: command.to_owned(), serving, took: Duration::ZERO };
        [
            step(&host.attach_line("web 80/tcp to 8001 8002"), &[8001, 8002]),
            step("add web 8003 8004", &[8001, 8002, 8003, 8004]),
            step("remove web 8003 8004", &[8001, 8002]),
            step("detach web", &[SERVICE]),
        ]
    }

    /// A command that was killed at its very end has left nothing to remove.
    fn succeeded(&self, outcome: &Outcome) -> bool {
        let takes_away = self.command.starts_with("remove") || self.command.starts_with("detach");
        outcome.code == Some(0) || takes_away && outcome.code == Some(4)
    }
}

engines! { command_killed_at_any_moment_harms_nothing: ebpf tc nft legacy }
fn command_killed_at_any_moment_harms_nothing(engine: Engine) {
    let host = Host::with_firewall(engine);
    let _plain = Daemon::python(&host.lan.server, SERVICE);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8004);
    let load = host.load(2);
    let mut random = Random::seeded();
    let mut round = Step::round(&host);
    for step in &mut round {
        let undisturbed = host.wocut(&step.command);
        step.took = undisturbed.ok().took;
    }
    let families = Family::BOTH.into_iter().cycle();
    let steps = (0..rounds(engine)).flat_map(|_| &round);
    for (step, family) in steps.zip(families) {
        host.start(&step.command).kill_after(random.moment(step.took));
        let repair = host.wocut(&step.command);
        assert!(step.succeeded(&repair), "{repair}");
        host.burst(family, 60).no_failure().only(step.serving);
    }
    load.stop().no_failure();
    assert!(!host.lan.server.pins().exists() && !host.lan.server.state().exists());
}

engines! { two_commands_at_once_both_take_effect: ebpf tc nft legacy }
fn two_commands_at_once_both_take_effect(engine: Engine) {
    let host = Host::new(engine);
    host.attach("web 80/tcp to 8001 8002");
    for _ in 0..5 {
        for (verb, left) in [("add", &[8001, 8002, 8003, 8004][..]), ("remove", &[8001, 8002])] {
            let commands = [8003, 8004].map(|port| host.start(&format!("{verb} web {port}")));
            assert_eq!(commands.map(Running::wait), [Some(0), Some(0)], "{verb}");
            host.has_instances("web", left);
        }
    }
}

engines! { two_services_attached_at_once_both_serve: ebpf tc nft legacy }
fn two_services_attached_at_once_both_serve(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8002);
    let services = ["web 80/tcp to 8001", "api 81/tcp to 8002"];
    let commands = services.map(|service| host.start(&host.attach_line(service)));
    assert_eq!(commands.map(Running::wait), [Some(0), Some(0)]);
    for (port, instance) in [(80, 8001), (81, 8002)] {
        burst(&host.lan.client, host.lan.at(Family::V4, port), 20).no_failure().only(&[instance]);
    }
}
