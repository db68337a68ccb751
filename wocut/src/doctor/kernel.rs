//! What the kernel has of what the eBPF engine uses.

use std::{fs, fs::File, io, os::fd::AsFd as _, path::Path};

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit};

use super::{
    Area::{Ebpf, Host},
    Finding, seen, told,
};
use crate::sys::{
    bpf::{self, Hook, MapKind},
    cgroup, connections,
    netns::Netns,
};

/// The kernel runs no more programs of one kind on a cgroup.
const MOST: usize = 64;
/// `lo` is the first interface of every namespace.
const LO: u32 = 1;

/// The version of the running kernel.
pub(super) fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| "?".into(), |text| text.trim().into())
}

/// The first two numbers of a version.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

pub(super) fn examine(netns: &Netns, release: &str) -> Vec<Finding> {
    let version = version(release);
    let at_least = |major, minor| (version >= (major, minor), format!("Linux {release}"));
    let types = "/sys/kernel/btf/vmlinux";
    vec![
        Finding::new(Ebpf, "Linux 5.10", at_least(5, 10), "engine ebpf is not known to run"),
        Finding::new(
            Ebpf,
            "kernel type information",
            (Path::new(types).exists(), types.into()),
            "no engine ebpf: a daemon that starts later could not be registered, and full accept queues are not seen",
        ),
        Finding::new(
            Ebpf,
            "sk_lookup",
            seen(bpf::programs_on(Hook::Lookup(netns.file.as_fd())).map(|ids| on_hook(&ids))),
            "no engine ebpf: nothing can pick a listener",
        ),
        Finding::new(
            Ebpf,
            "sockhash",
            seen(bpf::try_map(MapKind::SockHash, 8).map(|()| "a map of sockets can be made".into())),
            "no engine ebpf: listeners have no place",
        ),
        Finding::new(
            Ebpf,
            "socket storage",
            seen(bpf::try_map(MapKind::SocketStorage, 8).map(|()| "a storage can be made".into())),
            "connections and bytes are not counted",
        ),
        Finding::new(
            Ebpf,
            "sock_ops",
            told(on_cgroup_root()),
            "no engine ebpf: daemons that start later could not be registered",
        ),
        Finding::new(
            Ebpf,
            "namespace cookies",
            (
                netns.cookie.is_some(),
                netns.cookie.map_or("Linux 5.14 has them".into(), |cookie| cookie.to_string()),
            ),
            "what is left of a namespace that is gone is known by its inode number only, which may come back",
        ),
        Finding::new(
            Ebpf,
            "tcx",
            seen(
                bpf::programs_on(Hook::TcxIngress(LO))
                    .map(|ids| on_hook(&ids))
                    .map_err(|error| tcx_error(&error)),
            ),
            "programs on interfaces are classic filters (clsact)",
        )
        .bonus(),
        Finding::new(
            Ebpf,
            "SO_REUSEPORT on hook tc",
            at_least(6, 6),
            "hook tc passes over listeners with SO_REUSEPORT (Linux 6.6 takes them)",
        )
        .bonus(),
        mptcp(),
        Finding::new(
            Ebpf,
            "lockdown",
            lockdown(),
            "the kernel lets no program read its memory: full accept queues are not seen",
        ),
        Finding::new(
            Ebpf,
            "locked memory",
            memlock(version),
            "maps count as locked memory before Linux 5.11: raise `ulimit -l`",
        ),
        unprivileged(),
        Finding::new(
            Host,
            "SOCK_DESTROY",
            seen(connections::can_destroy().map(|()| "open connections can be ended".into())),
            "`drain --kill` cannot end connections (CONFIG_INET_DIAG_DESTROY)",
        ),
    ]
}

fn on_hook(ids: &[u32]) -> String {
    format!("{} programs are on it", ids.len())
}

fn tcx_error(error: &io::Error) -> String {
    if error.raw_os_error() == Some(libc::EINVAL) { "Linux 6.6 has it".into() } else { error.to_string() }
}

fn on_cgroup_root() -> anyhow::Result<String> {
    let root = cgroup::root()?;
    let file = File::open(&root).with_context(|| format!("open {}", root.display()))?;
    let ids = bpf::programs_on(Hook::SockOps(file.as_fd())).context("ask what is on the cgroup root")?;
    Ok(format!("{} of at most {MOST} programs are on {}", ids.len(), root.display()))
}

/// Not a feature that wocut needs, but one that decides what daemons it meets.
fn mptcp() -> Finding {
    let path = "/proc/sys/net/mptcp/enabled";
    let on = fs::read_to_string(path).ok().map(|text| text.trim() == "1");
    let found = match on {
        Some(true) => "net.mptcp.enabled is 1: such listeners (an ordinary Go server) enter no socket map",
        Some(false) => "net.mptcp.enabled is 0",
        None => "not in this kernel",
    };
    let without = "nothing: every TCP listener can be used";
    Finding::new(Ebpf, "MPTCP", (on == Some(true), found.into()), without).bonus()
}

/// `none [integrity] confidentiality`, or no such file.
fn lockdown() -> (bool, String) {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode =
        text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("none", |(mode, _)| mode);
    (mode != "confidentiality", format!("mode {mode}"))
}

fn memlock(version: (u32, u32)) -> (bool, String) {
    if version >= (5, 11) {
        return (true, "not counted from Linux 5.11 on".into());
    }
    match getrlimit(Resource::Memlock).maximum {
        None => (true, "unlimited".into()),
        Some(bytes) => (rustix::process::geteuid().is_root(), format!("{bytes} bytes")),
    }
}

fn unprivileged() -> Finding {
    let path = "/proc/sys/kernel/unprivileged_bpf_disabled";
    let value = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let found = match value {
        Some(0) => "kernel.unprivileged_bpf_disabled is 0: any user may load some programs".into(),
        Some(value) => format!("kernel.unprivileged_bpf_disabled is {value}"),
        None => "the kernel does not say".into(),
    };
    let without = "nothing: wocut has capabilities; 1 or 2 is the safer setting";
    Finding::new(Ebpf, "eBPF for all users", (value == Some(0), found), without).bonus()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_of_distributions_are_read() {
        assert_eq!(version("6.18.44-cloud-amd64"), (6, 18));
        assert_eq!(version("5.10"), (5, 10));
        assert_eq!(version("?"), (0, 0));
    }
}
