//! The ways that a service runs: two on eBPF, two on iptables.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::must::Must as _;
use crate::need::{Missing, tool};
use crate::tool::{output, which};

/// What carries a service in a test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Engine {
    /// The `sk_lookup` program.
    Ebpf,
    /// The program that looks at packets, in its place.
    Tc,
    /// iptables on nftables.
    Nft,
    /// The iptables of old.
    Legacy,
}

impl Engine {
    /// The word after `--engine`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ebpf | Self::Tc => "ebpf",
            Self::Nft | Self::Legacy => "iptables",
        }
    }

    /// What `attach` is told to have the service run this way.
    pub fn flags(self) -> String {
        let hook = if self == Self::Tc { " --hook tc" } else { "" };
        format!("--engine {}{hook}", self.word())
    }

    /// The same as keys of a service in a configuration file.
    pub fn keys(self) -> String {
        let hook = if self == Self::Tc { "hook = \"tc\"\n" } else { "" };
        format!("engine = \"{}\"\n{hook}", self.word())
    }

    /// Whether programs in the kernel carry the service, and not rules.
    pub fn is_ebpf(self) -> bool {
        matches!(self, Self::Ebpf | Self::Tc)
    }

    /// What the host lacks to run it.
    pub fn available(self) -> Result<(), Missing> {
        match self {
            Self::Ebpf | Self::Tc => ebpf(),
            Self::Nft | Self::Legacy => self.links().into_iter().try_for_each(|(_, program)| tool(&program)),
        }
    }

    /// A folder for the front of `PATH`, in which the names of iptables mean this flavour of it.
    pub fn tools(self) -> Option<TempDir> {
        if self.is_ebpf() {
            return None;
        }
        let folder = tempfile::tempdir().must("make a folder for iptables");
        for (name, program) in self.links() {
            symlink(which(&program).must(&program), folder.path().join(name)).must("link iptables");
        }
        Some(folder)
    }

    fn links(self) -> Vec<(String, String)> {
        let flavour = if self == Self::Legacy { "legacy" } else { "nft" };
        let link = |family: &str, end: &str| (format!("{family}{end}"), format!("{family}-{flavour}{end}"));
        let family = |family| ["", "-restore", "-save"].map(|end| link(family, end));
        ["iptables", "ip6tables"].into_iter().flat_map(family).collect()
    }
}

/// Asks the kernel by loading a program of each type, as `bpftool` does.
fn ebpf() -> Result<(), Missing> {
    static TYPES: OnceLock<String> = OnceLock::new();
    tool("bpftool")?;
    let types = TYPES.get_or_init(|| {
        let probe = output(Command::new("bpftool").args(["feature", "probe", "kernel"]));
        String::from_utf8_lossy(&probe.stdout).into_owned()
    });
    let lacks = |kind: &&str| !types.contains(&format!("eBPF program_type {kind} is available"));
    match ["sk_lookup", "sock_ops"].into_iter().find(lacks) {
        Some(kind) => Err(Missing::Here(format!("the eBPF program type {kind}"))),
        None => Ok(()),
    }
}

/// Makes one test of a behaviour for each engine it holds on: `engines! { behaviour: ebpf nft legacy }`.
///
/// The behaviour is a function that takes an [`Engine`].
#[macro_export]
macro_rules! engines {
    ($behaviour:ident: $($engine:ident)+) => {
        mod $behaviour {
            $(#[test]
            fn $engine() {
                let engine = $crate::engines!(@ $engine);
                $crate::need!(engine.available());
                super::$behaviour(engine);
            })+
        }
    };
    (@ ebpf) => { $crate::engine::Engine::Ebpf };
    (@ tc) => { $crate::engine::Engine::Tc };
    (@ nft) => { $crate::engine::Engine::Nft };
    (@ legacy) => { $crate::engine::Engine::Legacy };
}
