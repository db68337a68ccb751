//! Network namespaces.

use std::{
    fs::File,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::{
    net::{AddressFamily, SocketType, socket},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// The network namespace that this process is in.
#[derive(Debug)]
pub struct Netns {
    /// A handle on it.
    pub file: File,
    /// Its inode number. It may come back after the namespace is gone.
    pub inode: u64,
    /// Its cookie, which never comes back. Linux 5.14 and newer.
    pub cookie: Option<u64>,
}

impl Netns {
    /// Moves this thread, which should be the only one, into the namespace of that name, path or process if one is
    /// given, and opens the namespace that it is then in.
    pub fn enter(which: Option<&str>) -> anyhow::Result<Self> {
        if let Some(which) = which {
            let path = path_of(which);
            let target =
                File::open(&path).with_context(|| format!("open network namespace {}", path.display()))?;
            move_into_link_name_space(target.as_fd(), Some(LinkNameSpaceType::Network)).with_context(
                || format!("enter network namespace {} (this takes CAP_SYS_ADMIN)", path.display()),
            )?;
        }
        let file = File::open("/proc/thread-self/ns/net").context("open this process' network namespace")?;
        let inode = file.metadata().context("look at this process' network namespace")?.ino();
        Ok(Self { file, inode, cookie: cookie().ok() })
    }
}

/// Inode number of the network namespace that this thread is in, as text.
pub fn current_inode() -> std::io::Result<String> {
    Ok(std::fs::metadata("/proc/thread-self/ns/net")?.ino().to_string())
}

/// A number is a process, a path is a path, and anything else a name that `ip netns` knows.
fn path_of(which: &str) -> PathBuf {
    if which.contains('/') {
        Path::new(which).into()
    } else if which.bytes().all(|b| b.is_ascii_digit()) {
        Path::new("/proc").join(which).join("ns/net")
    } else {
        Path::new("/run/netns").join(which)
    }
}

/// `SO_NETNS_COOKIE` of a socket made here.
fn cookie() -> anyhow::Result<u64> {
    let probe = socket(AddressFamily::UNIX, SocketType::STREAM, None)
        .or_else(|_| socket(AddressFamily::INET, SocketType::DGRAM, None))
        .context("open a socket")?;
    let mut cookie = 0u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>())?;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `cookie`.
    let result = unsafe {
        libc::getsockopt(
            probe.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("read SO_NETNS_COOKIE");
    }
    Ok(cookie)
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn namespaces_are_named_three_ways() {
        assert_eq!(path_of("blue").to_str(), Some("/run/netns/blue"));
        assert_eq!(path_of("4711").to_str(), Some("/proc/4711/ns/net"));
        assert_eq!(path_of("/proc/1/ns/net").to_str(), Some("/proc/1/ns/net"));
    }
}
