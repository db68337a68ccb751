//! What this host can run: each feature, whether it is here, and what its absence means.

use std::{fs, path::Path};

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
    /// What it is.
    pub feature: &'static str,
    /// Whether it is here.
    pub here: bool,
    /// What was seen, or the cause.
    pub found: String,
    /// What does not work without it.
    pub without: &'static str,
}

/// Looks at this host.
pub fn examine(host: &Host) -> Vec<Finding> {
    let netns = host.netns();
    let missing = capabilities::missing_for_ebpf();
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let types = "/sys/kernel/btf/vmlinux";
    let result = |result: anyhow::Result<String>| match result {
        Ok(found) => (true, found),
        Err(error) => (false, one_line(&error)),
    };
    let finding = |feature, (here, found): (bool, String), without| Finding { feature, here, found, without };
    vec![
        finding(
            "engine ebpf",
            result(host.try_ebpf().map(|()| format!("loads and attaches on Linux {release}"))),
            "services run on iptables rules",
        ),
        finding(
            "engine iptables",
            result(Iptables::probe().map(|()| "takes every rule that services need".into())),
            "no fallback where eBPF is refused",
        ),
        finding("IPv4 rules", tool(false), "no engine iptables"),
        finding("IPv6 rules", tool(true), "engine iptables balances IPv4 only"),
        finding(
            "capabilities",
            (
                missing.is_empty(),
                if missing.is_empty() { "all".into() } else { format!("{} missing", missing.join(", ")) },
            ),
            "no engine ebpf",
        ),
        finding(
            "BPF file system",
            (bpffs::is_mounted(), format!("at {}", bpffs::ROOT)),
            "it is mounted when a service is attached, with CAP_SYS_ADMIN",
        ),
        finding(
            "cgroup2",
            result(cgroup::root().map(|root| format!("at {}", root.display()))),
            "no engine ebpf: restarted daemons could not be registered",
        ),
        finding(
            "kernel type information",
            (Path::new(types).exists(), types.into()),
            "full accept queues are not seen, and byte counts include the FIN",
        ),
        finding(
            "namespace cookies",
            (
                netns.cookie.is_some(),
                netns.cookie.map_or("Linux 5.14 has them".into(), |cookie| cookie.to_string()),
            ),
            "a restarted daemon is registered by the next command, not by listen(2)",
        ),
        finding(
            "socket diagnostics",
            result(listeners::tcp().map(|all| format!("{} TCP listeners", all.len()))),
            "daemons that listen already cannot be registered",
        ),
    ]
}

/// Whether the tool of a family is there and may look into the nat table, and whether wocut has rules in it.
fn tool(ipv6: bool) -> (bool, String) {
    let chains = || iptables::new(ipv6)?.list_chains("nat");
    match chains() {
        Ok(chains) if chains.iter().any(|chain| chain.starts_with("WOCUT")) => (true, "in use".into()),
        // The crate takes a tool that fails for one that lists nothing; every nat table has PREROUTING.
        Ok(chains) => {
            let here = chains.iter().any(|chain| chain == "PREROUTING");
            (here, if here { "not in use" } else { "the nat table cannot be listed" }.into())
        }
        Err(error) => (false, error.to_string()),
    }
}
