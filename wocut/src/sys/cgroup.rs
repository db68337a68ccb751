//! The cgroup2 hierarchy.

use std::{fs, path::PathBuf};

use anyhow::Context as _;

/// Where it is mounted: the root, or beside version 1 on a hybrid host.
pub fn root() -> anyhow::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").context("read /proc/mounts")?;
    root_in(&mounts).context("no cgroup2 file system is mounted (see /proc/mounts)")
}

fn root_in(mounts: &str) -> Option<PathBuf> {
    let mut lines = mounts.lines().map(str::split_whitespace);
    lines.find_map(|mut words| {
        let (path, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| path.into())
    })
}

#[cfg(test)]
mod tests {
    use super::root_in;

    #[test]
    fn unified_and_hybrid_mounts_are_found() {
        let hybrid =
            "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(root_in(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(root_in("none /sys/fs/cgroup cgroup2 rw 0 0\n"), Some("/sys/fs/cgroup".into()));
        assert_eq!(root_in("tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"), None);
    }
}
