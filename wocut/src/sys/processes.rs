//! Whose a socket is.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

/// How long a search may take: a host may have very many processes.
const PATIENCE: Duration = Duration::from_millis(40);

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, as `ps` shows it.
    pub name: String,
}

/// The first process that holds each of these sockets, by inode number of the socket. Some may not be found: others'
/// processes cannot be looked into without privileges, and the search ends when it has taken too long.
pub fn holding(inodes: &[u32]) -> BTreeMap<u32, Process> {
    let mut found = BTreeMap::new();
    let end = Instant::now() + PATIENCE;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if inodes.iter().all(|inode| found.contains_key(inode)) || Instant::now() > end {
            break;
        }
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        for inode in sockets_of(pid).filter(|inode| inodes.contains(inode)) {
            found.entry(inode).or_insert_with(|| Process { pid, name: name_of(pid) });
        }
    }
    found
}

fn sockets_of(pid: u32) -> impl Iterator<Item = u32> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| inode(fs::read_link(entry.path()).ok()?.to_str()?))
}

/// `socket:[4711]`.
fn inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| "?".into(), |name| name.trim().into())
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsRawFd as _, unix::fs::MetadataExt as _};

    use super::holding;

    #[test]
    fn a_socket_of_this_process_is_its_own() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = u32::try_from(file.ino()).unwrap();
        assert_eq!(holding(&[inode])[&inode].pid, std::process::id());
    }
}
