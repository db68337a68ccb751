//! A copy of this machine's file system, for tests that install packages.
//!
//! It is an overlay: what is written there goes with it, and the machine's own files stay as they are. `/run` and the BPF
//! file system are its own and empty; processes, control groups and the network are the machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::must::{Must as _, check};
use crate::netns::Netns;
use crate::notifications::Notifications;
use crate::processes::signal;
use crate::tool::run;
use crate::wait::{wait_for, wait_until};

/// Mounts, in a namespace that ends with the process that holds it.
const MOUNT: &str = r#"
set -e
mount -t tmpfs own "$1"
mkdir "$1/root" "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" own "$1/root"
cd "$1/root"
mount --bind /proc proc
mount --rbind /sys sys
mount --bind /dev dev
mount -t tmpfs own run
mount -t tmpfs own tmp
mount -t bpf own sys/fs/bpf
touch run/mounted
exec sleep infinity
"#;

/// Makes the file system what `ProtectSystem=strict` and these paths leave of it, and the folder that the unit has in `/run`.
const UNIT: &str = r#"
set -e
mkdir -p /run/wocut
chmod "$1" /run/wocut
for path in /run/wocut $2; do
    mount --bind "$path" "$path"
done
mount -o remount,bind,ro /run
mount -o remount,bind,ro /
shift 2
# Where it may not be raised, it has to do as it is.
prlimit --memlock=unlimited --pid $$ 2>/dev/null || :
exec setpriv "$@"
"#;

/// A root of a test's own; dropping it takes it away.
#[derive(Debug)]
pub struct Root {
    holder: Child,
    folder: TempDir,
}

impl Root {
    /// A fresh copy.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().must("make a folder for a root");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", MOUNT, "sh"]).arg(folder.path());
        let holder = unshare.stdin(Stdio::null()).spawn().must("make a namespace for mounts");
        let mut root = Self { holder, folder };
        wait_until("everything is mounted", Duration::from_secs(10), || {
            let ended = root.holder.try_wait().must("look at what mounts");
            check(ended.is_none(), || "a mount failed".into());
            root.path("run/mounted").exists()
        });
        root
    }

    /// A command that will run there, in a network namespace if one is given.
    pub fn command(&self, netns: Option<&Netns>, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()));
        command.args(netns.map(|netns| format!("--net=/run/netns/{}", netns.name())));
        command.arg("--").arg("chroot").arg(self.folder.path().join("root")).arg(program);
        command
    }

    /// Runs a command of the shell there, which has to succeed, and gives what it prints.
    #[track_caller]
    pub fn sh(&self, netns: Option<&Netns>, script: &str) -> String {
        run(self.command(netns, "sh").args(["-e", "-c", script]))
    }

    /// A file there, by its path from here.
    pub fn path(&self, path: &str) -> PathBuf {
        let root = Path::new("/proc").join(self.holder.id().to_string()).join("root");
        root.join(self.folder.path().strip_prefix("/").must("have a full path")).join("root").join(path)
    }
}

impl Root {
    /// What a unit runs, to be run as the unit would have it, as far as that goes without systemd: with its capabilities, its
    /// limits, and the files that it may write. There are no filters of system calls.
    pub fn unit(&self, netns: &Netns, name: &str, instance: &str) -> Command {
        let file = self.path("usr/lib/systemd/system").join(name);
        let text = fs::read_to_string(file).must("read the unit");
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.must(key).replace("%i", instance)
        };
        let paths = value("ReadWritePaths");
        let there = |path: &&str| path.strip_prefix('-').is_none_or(|path| self.path(&path[1..]).exists());
        let paths: Vec<_> = paths.split(' ').filter(there).map(|path| path.trim_start_matches('-')).collect();
        let capabilities =
            value("CapabilityBoundingSet").to_lowercase().replace("cap_", "+").replace(' ', ",");
        let given = [value("NoNewPrivileges"), value("LimitMEMLOCK")];
        check(given == ["yes", "infinity"], || format!("{name} is not what this imitates: {given:?}"));
        let mut command = self.command(Some(netns), "unshare");
        command.args(["--mount", "sh", "-c", UNIT, "sh", &value("RuntimeDirectoryMode"), &paths.join(" ")]);
        command.args([&format!("--bounding-set=-all,{capabilities}"), "--inh-caps=-all", "--no-new-privs"]);
        command.args(value("ExecStart").split(' '));
        command
    }

    /// Starts a unit that tells systemd when it is ready, and waits until it does.
    pub fn start(&self, netns: &Netns, name: &str) -> Service {
        let notifications = Notifications::listen(&self.path("run"));
        let mut command = self.unit(netns, name, "");
        command.env("NOTIFY_SOCKET", "/run/notify").stdin(Stdio::null());
        let mut service = Service { child: command.spawn().must("start the unit"), notifications };
        wait_until("the unit is ready", Duration::from_secs(20), || {
            let ended = service.child.try_wait().must("look at the unit");
            check(ended.is_none(), || "the unit has ended".into());
            service.notifications.has("READY=1")
        });
        service
    }
}

/// A unit that runs; dropping it kills it.
#[derive(Debug)]
pub struct Service {
    child: Child,
    notifications: Notifications,
}

impl Service {
    /// Ends it, and gives the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        signal(self.child.id(), Signal::TERM);
        wait_for("the unit ends", Duration::from_secs(10), || self.child.try_wait().must("look at the unit"))
            .code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Default for Root {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
