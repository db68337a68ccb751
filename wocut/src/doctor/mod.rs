//! What this host can run: each feature, whether it is here, and what its absence means.
//!
//! Where that is cheap a feature is tried, and not told from the kernel's version: distributions add and leave out.

mod kernel;
mod rules;
mod settings;

use std::fmt;

use serde::Serialize;

use crate::{
    engine::iptables::Iptables,
    error::one_line,
    host::Host,
    sys::{bpffs, capabilities, cgroup, listeners},
};

/// One feature.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is for.
    pub area: Area,
    /// What it is.
    pub feature: &'static str,
    /// Whether it is here.
    pub here: bool,
    /// Whether something is missed where it is not.
    pub matters: bool,
    /// What was seen, or the cause.
    pub found: String,
    /// What does not work without it.
    pub without: &'static str,
}

/// What a feature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// An engine as a whole.
    Engine,
    /// The eBPF engine.
    Ebpf,
    /// The iptables engine.
    Iptables,
    /// This host, whatever the engine.
    Host,
}

impl Finding {
    fn new(area: Area, feature: &'static str, (here, found): (bool, String), without: &'static str) -> Self {
        Self { area, feature, here, matters: true, found, without }
    }

    /// Nothing is missed without it, or there is another way.
    fn bonus(self) -> Self {
        Self { matters: false, ..self }
    }
}

/// Here and what was seen, or not here and why.
fn seen<E: fmt::Display>(result: Result<String, E>) -> (bool, String) {
    match result {
        Ok(found) => (true, found),
        Err(error) => (false, error.to_string()),
    }
}

fn told(result: anyhow::Result<String>) -> (bool, String) {
    seen(result.map_err(|error| one_line(&error)))
}

/// Looks at this host.
pub fn examine(host: &Host) -> Vec<Finding> {
    let release = kernel::release();
    let mut findings = vec![
        Finding::new(
            Area::Engine,
            "engine ebpf",
            told(host.try_ebpf().map(|()| format!("loads and attaches on Linux {release}"))),
            "services run on iptables rules",
        ),
        Finding::new(
            Area::Engine,
            "engine iptables",
            told(Iptables::probe().map(|()| "takes every rule that services need".into())),
            "no fallback where eBPF is refused",
        ),
    ];
    let missing = capabilities::missing_for_ebpf();
    let held = if missing.is_empty() { "all".into() } else { format!("{} missing", missing.join(", ")) };
    findings.push(Finding::new(Area::Ebpf, "capabilities", (missing.is_empty(), held), "no engine ebpf"));
    findings.extend(kernel::examine(host.netns(), &release));
    findings.extend([
        Finding::new(
            Area::Ebpf,
            "BPF file system",
            (bpffs::is_mounted(), format!("at {}", bpffs::ROOT)),
            "it is mounted when a service is attached, with CAP_SYS_ADMIN",
        )
        .bonus(),
        Finding::new(
            Area::Ebpf,
            "cgroup2",
            told(cgroup::root().map(|root| format!("at {}", root.display()))),
            "no engine ebpf: restarted daemons could not be registered",
        ),
    ]);
    findings.extend(rules::examine());
    findings.push(Finding::new(
        Area::Host,
        "socket diagnostics",
        told(listeners::tcp().map(|all| format!("{} TCP listeners", all.len()))),
        "daemons that listen already cannot be registered",
    ));
    findings.extend(settings::examine(host));
    findings
}

/// Whether a service can be attached at all.
pub fn any_engine(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.area == Area::Engine && finding.here)
}
