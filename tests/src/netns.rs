//! A network namespace of a test's own.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::must::Must as _;
use crate::processes::end_all;
use crate::tool::ip;

const FOLDER: &str = "/run/netns";
const PREFIX: &str = "wocut-test-";

/// A named network namespace; dropping it deletes it with everything that wocut keeps for it, and ends what runs in it.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// Makes a namespace with `lo` up, named after this process, a counter and its role.
    pub fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}-{role}", process::id());
        ip(&format!("netns add {name}"));
        let file = File::open(Path::new(FOLDER).join(&name)).must("open the namespace");
        let netns = Self { name, file };
        netns.forget_wocut();
        netns.ip("link set lo up");
        netns
    }

    /// The name that `ip netns` knows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The inode number, which is what wocut calls the namespace in its paths.
    pub fn inode(&self) -> u64 {
        self.file.metadata().must("read the namespace's inode").ino()
    }

    /// Where wocut keeps its pins for this namespace.
    pub fn pins(&self) -> PathBuf {
        PathBuf::from(format!("/sys/fs/bpf/wocut/{}", self.inode()))
    }

    /// Where wocut keeps the wanted state of this namespace.
    pub fn state(&self) -> PathBuf {
        PathBuf::from(format!("/run/wocut/{}.json", self.inode()))
    }

    /// Moves the calling thread into the namespace, for good.
    pub fn enter(&self) {
        enter(&self.file);
    }

    /// A way in for threads that are not bound to the life of this value.
    pub fn door(&self) -> Door {
        Door(self.file.try_clone().must("open the namespace again"))
    }

    /// Runs the work in a thread inside the namespace, and hands on its panic.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let outcome = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            inside.join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A command that will run inside the namespace, under the process id that it is started with.
    ///
    /// Not `ip netns exec`, which remounts `/sys` and so hides cgroup2 and bpffs.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={FOLDER}/{}", self.name)).arg("--").arg(program);
        command
    }

    /// Runs `ip` inside the namespace.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.name))
    }

    /// Writes a sysctl of the namespace, named by its path under `/proc/sys/net`.
    pub fn set(&self, sysctl: &str, value: &str) {
        self.run(|| fs::write(Path::new("/proc/sys/net").join(sysctl), value).must(sysctl));
    }

    /// Reads a sysctl of the namespace, named by its path under `/proc/sys/net`.
    pub fn get(&self, sysctl: &str) -> String {
        self.run(|| {
            fs::read_to_string(Path::new("/proc/sys/net").join(sysctl)).must(sysctl).trim().to_owned()
        })
    }

    /// Removes pins and state of this inode number: the kernel uses the numbers again.
    fn forget_wocut(&self) {
        drop(fs::remove_dir_all(self.pins()));
        let ours = format!("{}.", self.inode());
        for entry in fs::read_dir("/run/wocut").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&ours) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

/// A way into a namespace.
#[derive(Debug)]
pub struct Door(File);

impl Door {
    /// Moves the calling thread into the namespace, for good.
    pub fn enter(&self) {
        enter(&self.0);
    }
}

fn enter(netns: &File) {
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).must("enter the namespace");
}

impl Drop for Netns {
    fn drop(&mut self) {
        end_all(self);
        self.forget_wocut();
        drop(Command::new("ip").args(["netns", "delete", &self.name]).status());
    }
}

/// Deletes the namespaces of test processes that were killed before they could.
pub fn sweep() {
    for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let owner = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            let file = File::open(entry.path());
            if let Ok(file) = file {
                drop(Netns { name, file });
            }
        }
    }
}
