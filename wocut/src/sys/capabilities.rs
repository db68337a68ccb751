//! What this process may do.

use rustix::thread::{CapabilitySet, capabilities};

/// The capabilities that the eBPF engine needs, with what for.
pub const EBPF: [(&str, CapabilitySet, &str); 3] = [
    ("CAP_BPF", CapabilitySet::BPF, "load programs and maps"),
    ("CAP_PERFMON", CapabilitySet::PERFMON, "read the accept queue of a listener"),
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, "attach programs to a network namespace and a cgroup"),
];

/// Names of those that are missing. For `bpf(2)`, `CAP_SYS_ADMIN` stands for each.
pub fn missing_for_ebpf() -> Vec<&'static str> {
    let Ok(sets) = capabilities(None) else { return Vec::new() };
    let has = |wanted| sets.effective.intersects(CapabilitySet::SYS_ADMIN | wanted);
    EBPF.iter().filter(|(_, wanted, _)| !has(*wanted)).map(|(name, ..)| *name).collect()
}
