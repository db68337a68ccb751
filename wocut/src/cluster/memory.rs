//! What workers use: of their cgroups where they have some, else of their processes.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rustix::fs::getxattr;

use crate::sys::cgroup;

/// Parents of parents of a process that are looked at: what is read of a tree that changes may go round in circles.
const DEPTH: usize = 64;

/// The cgroup of this process, in which it may make others.
#[derive(Clone, Debug)]
pub struct Delegated(PathBuf);

/// A cgroup for one worker and what it starts.
#[derive(Clone, Debug)]
pub struct Group(PathBuf);

impl Delegated {
    /// Finds it, or says why there is none. The kernel wants no processes in a group whose children have controllers:
    /// this process moves into a child of its own, `MASTER`.
    pub fn claim(master: &str) -> anyhow::Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").context("read /proc/self/cgroup")?;
        let own = own_path(&own).context("this process is in no cgroup of version 2")?;
        let folder = cgroup::root()?.join(own.trim_start_matches('/'));
        Self::claim_at(&folder, own == "/", master)
    }

    fn claim_at(folder: &Path, top: bool, master: &str) -> anyhow::Result<Self> {
        let shown = folder.display();
        let read = |file: &str| {
            fs::read_to_string(folder.join(file)).with_context(|| format!("read {shown}/{file}"))
        };
        if !read("cgroup.controllers")?.split_whitespace().any(|one| one == "memory") {
            bail!("cgroup {shown} has no memory controller");
        }
        // Root may write everywhere, and is not to change what systemd keeps for itself.
        if rustix::process::geteuid().is_root() && !top && !is_marked(folder) {
            bail!("cgroup {shown} is not delegated (systemd: `Delegate=yes`)");
        }
        if !read("cgroup.subtree_control")?.split_whitespace().any(|one| one == "memory") {
            if !top {
                let child = Self(folder.into()).make(master)?;
                child.enter(std::process::id())?;
            }
            let control = folder.join("cgroup.subtree_control");
            fs::write(&control, "+memory").with_context(|| format!("write {}", control.display()))?;
        }
        Ok(Self(folder.into()))
    }

    /// A child that is there.
    pub fn find(&self, name: &str) -> Option<Group> {
        Some(self.0.join(name)).filter(|path| path.is_dir()).map(Group)
    }

    /// Makes a child, or takes the one that is there.
    pub fn make(&self, name: &str) -> anyhow::Result<Group> {
        let path = self.0.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("make cgroup {}", path.display()))
            }
            _ => Ok(Group(path)),
        }
    }
}

impl Group {
    /// Puts a process into it. What that starts from then on is in it as well.
    pub fn enter(&self, pid: u32) -> anyhow::Result<()> {
        let file = self.0.join("cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| format!("move process {pid} to {}", file.display()))
    }

    /// What all that is in it uses now, in bytes, without files that the kernel could forget at any time.
    pub fn used(&self) -> io::Result<u64> {
        let text = fs::read_to_string(self.0.join("memory.current"))?;
        let all: u64 = text.trim().parse().map_err(io::Error::other)?;
        let stat = fs::read_to_string(self.0.join("memory.stat")).unwrap_or_default();
        let cache = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok());
        Ok(all.saturating_sub(cache.unwrap_or(0)))
    }

    /// Removes it. Fails while there is a process in it.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir(&self.0)
    }
}

/// The path behind `0::`.
fn own_path(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // From outside its namespace: there is nothing here that this path names.
    (path.starts_with('/') && !path.split('/').any(|part| part == "..")).then_some(path)
}

/// Whether systemd has left it to whoever is in it.
fn is_marked(folder: &Path) -> bool {
    ["trusted.delegate", "user.delegate"].iter().any(|name| {
        let mut value = [0u8; 1];
        getxattr(folder, *name, &mut value[..]).is_ok_and(|length| length == 1 && value == *b"1")
    })
}

/// What each of these processes and its descendants have in memory, in bytes: 0 for one that is gone. What they share
/// is counted more than once, and a descendant whose parent has ended is not counted.
pub fn resident(pids: &[u32]) -> Vec<u64> {
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        if let Some(process) = parent_and_pages(&stat) {
            all.insert(pid, process);
        }
    }
    sums(&all, pids).into_iter().map(|pages| pages.saturating_mul(page)).collect()
}

/// Of `/proc/PID/stat`. The name of a process may be anything, also `) R 1 (`.
fn parent_and_pages(stat: &[u8]) -> Option<(u32, u64)> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let pages = fields.nth(19)?.parse::<i64>().ok()?;
    Some((parent, pages.try_into().ok()?))
}

fn sums(all: &BTreeMap<u32, (u32, u64)>, roots: &[u32]) -> Vec<u64> {
    let mut found: BTreeMap<u32, u64> = roots.iter().map(|root| (*root, 0)).collect();
    for (pid, (_, pages)) in all {
        let mut up =
            std::iter::successors(Some(*pid), |pid| all.get(pid).map(|(parent, _)| *parent)).take(DEPTH);
        if let Some(sum) = up.find(|pid| found.contains_key(pid)).and_then(|root| found.get_mut(&root)) {
            *sum = sum.saturating_add(*pages);
        }
    }
    roots.iter().map(|root| found.get(root).copied().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use proptest::prelude::*;

    use super::{Delegated, own_path, parent_and_pages, resident, sums};

    #[test]
    fn own_cgroup_is_that_of_version_2() {
        assert_eq!(
            own_path("4:memory:/a\n0::/system.slice/web.service\n"),
            Some("/system.slice/web.service")
        );
        assert_eq!(own_path("4:memory:/a\n"), None);
        assert_eq!(own_path("0::/../other\n"), None);
    }

    #[test]
    fn this_process_uses_memory_and_one_that_is_gone_uses_none() {
        let used = resident(&[std::process::id(), u32::MAX]);
        assert!(used[0] > 1 << 20, "{used:?}");
        assert_eq!(used[1], 0);
    }

    #[test]
    fn descendants_count_for_the_nearest_worker() {
        let all =
            BTreeMap::from([(1, (0, 1)), (10, (1, 10)), (11, (10, 20)), (12, (11, 40)), (20, (12, 80))]);
        assert_eq!(sums(&all, &[10, 20, 99]), [70, 80, 0]);
        let circle = BTreeMap::from([(5, (6, 1)), (6, (5, 1))]);
        assert_eq!(sums(&circle, &[7]), [0]);
    }

    #[test]
    fn name_of_a_process_says_nothing() {
        let stat = b"42 (a) R 9 (\xff) S 7 42 42 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 1 0 100 1000000 321 1 1\n";
        assert_eq!(parent_and_pages(stat), Some((7, 321)));
        assert_eq!(parent_and_pages(b""), None);
    }

    #[test]
    fn controller_is_enabled_where_the_group_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("cgroup.controllers"), "cpu io\n").unwrap();
        fs::write(file("cgroup.subtree_control"), "").unwrap();
        let error = Delegated::claim_at(folder.path(), true, "web").unwrap_err();
        assert!(error.to_string().ends_with("has no memory controller"), "{error}");

        fs::write(file("cgroup.controllers"), "cpu memory\n").unwrap();
        if rustix::process::geteuid().is_root() {
            let error = Delegated::claim_at(folder.path(), false, "web").unwrap_err();
            assert!(error.to_string().contains("is not delegated"), "{error}");
        }
        let groups = Delegated::claim_at(folder.path(), true, "web").unwrap();
        assert_eq!(fs::read_to_string(file("cgroup.subtree_control")).unwrap(), "+memory");

        let group = groups.make("web-0-1").unwrap();
        fs::write(file("web-0-1/memory.current"), "4096\n").unwrap();
        assert_eq!(groups.make("web-0-1").unwrap().used().unwrap(), 4096);
        fs::remove_file(file("web-0-1/memory.current")).unwrap();
        group.remove().unwrap();
        assert!(group.used().is_err());
    }

    proptest! {
        #[test]
        fn no_line_panics(stat: Vec<u8>) {
            let _any = parent_and_pages(&stat);
        }
    }
}
