//! A host and a client on which a page is read: whatever it writes, listens on or kills is theirs alone.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;

use crate::docs::page::Who;
use crate::docs::terminal::Terminal;
use crate::lan::take_turn;
use crate::must::{Must as _, check};
use crate::need::Missing;
use crate::netns::Netns;
use crate::wocut;

/// The first process of the host's: it lays a layer that can be written over the folders that pages write to, has a
/// BPF file system, `/run` and `/tmp` of its own, and ends with its standard input, and everything with it.
const FIRST: &str = include_str!("first.sh");

/// Namespaces for the network, mounts and processes; dropping it ends what runs in them.
#[derive(Debug)]
pub struct Stage {
    first: Child,
    /// The first process, as seen from outside.
    id: u32,
    /// 192.0.2.1 and `2001:db8::1`, by `eth0`.
    pub server: Netns,
    /// 192.0.2.2 and `2001:db8::2`, by `eth0`.
    pub client: Netns,
    _turn: MutexGuard<'static, ()>,
}

/// Needs layered mounts.
pub fn layers() -> Result<(), Missing> {
    let known = fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("overlay"));
    known.then_some(()).ok_or_else(|| Missing::Here("overlay file systems".to_owned()))
}

impl Stage {
    /// A host and a client.
    pub fn new() -> Self {
        let turn = take_turn();
        let (server, client) = (Netns::new("server"), Netns::new("client"));
        server.ip(&format!("link add eth0 type veth peer name eth0 netns {}", client.name()));
        for (netns, host) in [(&server, 1), (&client, 2)] {
            netns.ip(&format!("address add 192.0.2.{host}/24 dev eth0"));
            netns.ip(&format!("address add 2001:db8::{host}/64 dev eth0 nodad"));
            netns.ip("link set eth0 up");
        }
        let mut command = server.command("unshare");
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ]);
        command.args(["bash", "-c", FIRST, "first"]).arg(wocut::binary());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut first = command.spawn().must("unshare namespaces");
        let mut said = String::new();
        let stdout = first.stdout.take().must("listen to the first process");
        BufReader::new(stdout).read_line(&mut said).must("listen to the first process");
        check(said == "ready\n", || format!("the stage is not ready: {said:?}"));
        let id = child_of(first.id());
        Self { first, id, server, client, _turn: turn }
    }

    /// A shell of somebody's.
    pub fn terminal(&self, who: Who) -> Terminal {
        let netns = if who == Who::Client { &self.client } else { &self.server };
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.id)).args(["--mount", "--pid"]);
        command.arg(format!("--net=/run/netns/{}", netns.name())).arg("--");
        command.env_clear().envs([("TERM", "dumb"), ("LC_ALL", "C.UTF-8")]);
        // Python takes what it compiled before for a program that was changed in the same second.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let home = if who == Who::Alice { "/home/alice" } else { "/root" };
        command.env("HOME", home).args(["env", "-C", home]);
        if who == Who::Alice {
            command.args(["setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "--inh-caps=-all"]);
        }
        command.arg("bash");
        Terminal::open(command)
    }

    /// Writes a file of the host's.
    pub fn write(&self, path: &Path, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().must("be in a folder")).must("make a folder");
        fs::write(path, text).must("write a file of a page");
    }

    /// A path of the host's, from outside.
    fn at(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.id));
        root.join(path.strip_prefix("/").must("have a full path"))
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.first.kill());
        drop(self.first.wait());
    }
}

/// The only child of a process.
fn child_of(id: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).must("list children");
    children.trim().parse().must("read a child")
}
