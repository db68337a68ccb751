//! What this process may do.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// The capabilities that the eBPF engine needs, with what for.
pub const EBPF: [(&str, CapabilitySet, &str); 3] = [
    ("CAP_BPF", CapabilitySet::BPF, "load programs and maps"),
    ("CAP_PERFMON", CapabilitySet::PERFMON, "read the accept queue of a listener"),
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, "attach programs to a network namespace and a cgroup"),
];

/// The capabilities that the daemon keeps once it is at work, with what for.
pub const DAEMON: [(&str, CapabilitySet, &str); 4] = [
    ("CAP_BPF", CapabilitySet::BPF, "load programs, and write and read maps"),
    ("CAP_PERFMON", CapabilitySet::PERFMON, "load programs that read kernel structures"),
    (
        "CAP_NET_ADMIN",
        CapabilitySet::NET_ADMIN,
        "attach programs, change rules and settings, end connections",
    ),
    ("CAP_NET_RAW", CapabilitySet::NET_RAW, "run iptables"),
];

/// Gives up all capabilities but those of [`DAEMON`], for this thread and those that it starts, and for every program
/// that they run. There is no way back.
pub fn keep_daemons() -> io::Result<()> {
    let kept = DAEMON.iter().fold(CapabilitySet::empty(), |all, (_, one, _)| all | *one);
    for number in (0..64).filter(|number| kept.bits() & (1 << number) == 0) {
        // SAFETY: it takes numbers alone. One that this kernel does not know is none that it could give.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
    }
    let now = capabilities(None)?;
    let sets = CapabilitySets {
        effective: now.effective & kept,
        permitted: now.permitted & kept,
        inheritable: now.inheritable & kept,
    };
    set_capabilities(None, sets)?;
    set_no_new_privs(true)?;
    Ok(())
}

/// Names of those that are missing. For `bpf(2)`, `CAP_SYS_ADMIN` stands for each.
pub fn missing_for_ebpf() -> Vec<&'static str> {
    let Ok(sets) = capabilities(None) else { return Vec::new() };
    let has = |wanted| sets.effective.intersects(CapabilitySet::SYS_ADMIN | wanted);
    EBPF.iter().filter(|(_, wanted, _)| !has(*wanted)).map(|(name, ..)| *name).collect()
}
