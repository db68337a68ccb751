//! The BPF file system, in which programs, links and maps live on without a process.

use std::path::Path;

use anyhow::Context as _;
use rustix::{
    io::Errno,
    mount::{MountFlags, mount},
};

/// Where every tool expects it.
pub const ROOT: &str = "/sys/fs/bpf";

/// `BPF_FS_MAGIC` of the kernel.
const MAGIC: u64 = 0xcafe_4a11;

/// Whether it is mounted at [`ROOT`].
pub fn is_mounted() -> bool {
    rustix::fs::statfs(ROOT)
        .is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|magic| magic & 0xffff_ffff == MAGIC))
}

/// Mounts it at [`ROOT`] if it is not.
pub fn ensure_mounted() -> anyhow::Result<()> {
    if is_mounted() {
        return Ok(());
    }
    let hint = |errno| match errno {
        Errno::PERM => "mount the BPF file system (this takes CAP_SYS_ADMIN)",
        Errno::NODEV => "mount the BPF file system (this kernel has none: CONFIG_BPF_SYSCALL)",
        _ => "mount the BPF file system",
    };
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    mount("bpf", Path::new(ROOT), "bpf", flags, c"mode=0700").map_err(|errno| {
        anyhow::Error::new(std::io::Error::from(errno)).context(format!("{} at {ROOT}", hint(errno)))
    })?;
    is_mounted().then_some(()).context("mount the BPF file system: it is not there after the mount")
}
