//! wocut itself, with every engine, policy and hook.

use std::process::Command;

use anyhow::Result;

use super::{SERVICE, Service, Up, file};
use crate::bench::Bench;
use crate::bench::place::Place;
use crate::command;

/// How an instance is picked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::bench) enum Policy {
    Random,
    RoundRobin,
    LeastConn,
    LeastBacklog,
    Sticky,
}

impl Policy {
    pub(in crate::bench) const ALL: [Self; 5] =
        [Self::Random, Self::RoundRobin, Self::LeastConn, Self::LeastBacklog, Self::Sticky];

    const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
            Self::LeastConn => "least-conn",
            Self::LeastBacklog => "least-backlog",
            Self::Sticky => "sticky",
        }
    }
}

/// What carries a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::bench) enum Attachment {
    Ebpf(Policy),
    /// The tc hook, for listeners that the other hook could serve too.
    Tc,
    /// Listeners that only the tc hook can serve.
    Mptcp,
    Iptables,
}

impl Attachment {
    pub(super) fn name(self) -> String {
        match self {
            Self::Ebpf(policy) => format!("wocut ebpf {}", policy.name()),
            Self::Tc => "wocut tc".into(),
            Self::Mptcp => "wocut tc, MPTCP".into(),
            Self::Iptables => "wocut iptables".into(),
        }
    }

    pub(super) const fn place(self) -> &'static str {
        match self {
            Self::Ebpf(_) | Self::Tc => "ebpf",
            Self::Mptcp => "mptcp",
            Self::Iptables => "iptables",
        }
    }

    /// The words that a user would give to `wocut`.
    pub(in crate::bench) fn words(self, service: &Service) -> Vec<String> {
        let options: &[&str] = match self {
            Self::Ebpf(policy) => &["--engine", "ebpf", "--policy", policy.name()],
            Self::Tc => &["--engine", "ebpf", "--hook", "tc"],
            Self::Mptcp => &["--engine", "ebpf"],
            Self::Iptables => &["--engine", "iptables"],
        };
        let listen = format!("{SERVICE}/{}", service.transport.name());
        let words = ["attach", "bench", &listen, "to"].map(str::to_owned).into_iter();
        let words = words.chain(service.instances.iter().map(u16::to_string));
        words.chain(options.iter().map(|&word| word.to_owned())).collect()
    }

    pub(super) fn up(self, bench: &Bench, place: &Place, service: &Service) -> Result<Up> {
        let mut detach = wocut(bench, place);
        detach.args(["detach", "--all"]);
        // First, so that half an attach goes too.
        let up = Up::undone_by(detach);
        command::quietly(wocut(bench, place).args(self.words(service)))?;
        Ok(up)
    }
}

/// A command for the servers' namespace of a place.
pub(in crate::bench) fn wocut(bench: &Bench, place: &Place) -> Command {
    let mut command = Command::new(&bench.wocut);
    command.args(["--netns", &place.lan.server, "--quiet"]);
    command
}

/// Makes what a configuration says wanted.
pub(in crate::bench) fn apply(bench: &Bench, place: &Place, engine: &str, config: &str) -> Result<()> {
    let config = file(bench, "services.toml", config)?;
    command::quietly(wocut(bench, place).args(["--engine", engine, "apply"]).arg(config)).map(drop)
}

/// Takes everything off.
pub(in crate::bench) fn detach(bench: &Bench, place: &Place) -> Result<()> {
    command::quietly(wocut(bench, place).args(["detach", "--all"])).map(drop)
}
