//! The host: its kernel, its tools, and the settings that a balancer depends on.

use std::fs;

use anyhow::Context as _;
use rustix::system::uname;
use wocut_common::ABI_VERSION;

use crate::sys::tool;

/// Tools whose version matters.
const TOOLS: [(&str, &str); 4] =
    [("iptables", "--version"), ("ip6tables", "--version"), ("nft", "--version"), ("bpftool", "version")];

/// Files of one line, and what decides over them.
const SETTINGS: [&str; 20] = [
    "/proc/sys/kernel/bpf_stats_enabled",
    "/proc/sys/kernel/perf_event_paranoid",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/net/core/bpf_jit_enable",
    "/proc/sys/net/core/bpf_jit_harden",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/net/ipv4/conf/all/route_localnet",
    "/proc/sys/net/ipv4/conf/all/rp_filter",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ip_local_port_range",
    "/proc/sys/net/ipv4/ip_local_reserved_ports",
    "/proc/sys/net/ipv4/tcp_max_syn_backlog",
    "/proc/sys/net/ipv4/tcp_syncookies",
    "/proc/sys/net/ipv6/bindv6only",
    "/proc/sys/net/ipv6/conf/all/disable_ipv6",
    "/proc/sys/net/ipv6/conf/all/forwarding",
    "/proc/sys/net/mptcp/enabled",
    "/proc/sys/net/netfilter/nf_conntrack_count",
    "/proc/sys/net/netfilter/nf_conntrack_max",
    "/sys/kernel/security/lockdown",
];

/// Of wocut, the kernel, the distribution and the tools. Not the name of the host.
pub(super) fn versions() -> String {
    let kernel = uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let mut lines = vec![
        format!("wocut {}, layout {ABI_VERSION}", env!("CARGO_PKG_VERSION")),
        [kernel.sysname(), kernel.release(), kernel.version(), kernel.machine()].map(part).join(" "),
    ];
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    lines.extend(os.lines().find(|line| line.starts_with("PRETTY_NAME=")).map(ToOwned::to_owned));
    for (name, flag) in TOOLS {
        let version = match tool::read(&[name], &[flag]) {
            Ok(Some(text)) => text.lines().next().unwrap_or_default().to_owned(),
            Ok(None) => "not installed".into(),
            Err(error) => error.to_string(),
        };
        lines.push(format!("{name}: {version}"));
    }
    lines.join("\n") + "\n"
}

/// Where BPF file systems and control groups are mounted.
pub(super) fn mounts() -> anyhow::Result<String> {
    let all = fs::read_to_string("/proc/mounts").context("read /proc/mounts")?;
    Ok(chosen(&all, |line| matches!(line.split(' ').nth(2), Some("bpf" | "cgroup" | "cgroup2"))))
}

/// What this process may do.
pub(super) fn capabilities() -> anyhow::Result<String> {
    let all = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    Ok(chosen(&all, |line| {
        ["Uid:", "Cap", "NoNewPrivs:", "Seccomp:"].iter().any(|key| line.starts_with(key))
    }))
}

/// What is set; a setting that this kernel does not have is said to be missing.
pub(super) fn settings() -> String {
    let value = |path: &&str| {
        let text =
            fs::read_to_string(path).map_or_else(|error| format!("({error})"), |text| text.trim().to_owned());
        format!("{path} = {text}\n")
    };
    SETTINGS.iter().map(value).collect()
}

fn chosen(text: &str, is_told: impl Fn(&str) -> bool) -> String {
    text.lines().filter(|line| is_told(line)).flat_map(|line| [line, "\n"]).collect()
}
