//! The processes of a namespace, whoever started them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::must::Must as _;
use crate::netns::Netns;
use crate::wait::wait_until;

/// A process that is ended is gone when its turn comes.
const LOOKS: u32 = 1000;

/// Those that are at work now, by number, each with its command line.
pub fn processes(netns: &Netns) -> BTreeMap<u32, String> {
    let inode = netns.inode();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let here = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        // A zombie is in no namespace.
        let is_here = fs::metadata(entry.path().join("ns/net")).ok()?.ino() == inode;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (is_here && id != process::id()).then_some((id, line))
    };
    entries.filter_map(here).collect()
}

/// Fails the test unless these, and no others, are soon the processes of a namespace.
#[track_caller]
pub fn only_processes(netns: &Netns, ids: &[u32]) {
    let what = format!("{ids:?} are left, of {:#?}", processes(netns));
    wait_until(&what, Duration::from_secs(10), || {
        let left = processes(netns);
        left.len() == ids.len() && ids.iter().all(|id| left.contains_key(id))
    });
}

/// Sends a process a signal.
#[track_caller]
pub fn signal(id: u32, signal: Signal) {
    kill_process(pid(id).must("name a process"), signal).must("send a signal");
}

/// Sends a process a signal. False: there is none.
pub fn signal_if_there(id: u32, signal: Signal) -> bool {
    pid(id).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Ends every process of a namespace.
pub(crate) fn end_all(netns: &Netns) {
    for _ in 0..LOOKS {
        let left = processes(netns);
        if left.is_empty() {
            break;
        }
        for id in left.into_keys().filter_map(pid) {
            let _ = kill_process(id, Signal::KILL);
        }
        thread::yield_now();
    }
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(id.try_into().ok()?)
}
