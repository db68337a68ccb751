//! Two network namespaces of one peer, so that nobody meets the rules of another.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result};

use crate::command;
use crate::lan::{self, Lan};
use crate::say::say;

/// How many addresses the clients have: `sticky` tells clients apart by address.
pub(super) const CLIENTS: u8 = 64;

/// A client's address.
pub(super) fn client(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 117, 0, 2 + number % CLIENTS)
}

/// Where one peer works. It goes with the value.
pub(super) struct Place {
    pub(super) lan: Lan,
}

impl Place {
    pub(super) fn make(name: &str) -> Result<Self> {
        let lan = Lan::make(&format!("{}{name}", Namespaces::NAMES))?;
        let place = Self { lan };
        for number in 1..CLIENTS {
            let mut ip = Command::new("ip");
            ip.args(["-n", &place.lan.client, "addr", "add", &format!("{}/24", client(number))]);
            command::quietly(ip.args(["dev", "wocut1"]))?;
        }
        place.as_client(|| {
            set("net/ipv4/ip_local_port_range", "1024 65535")?;
            set("net/ipv4/tcp_tw_reuse", "1")
        })?;
        // A proxy's connections to its servers end in the servers' namespace.
        place.as_server(|| set("net/ipv4/tcp_tw_reuse", "1"))?;
        Ok(place)
    }

    /// Runs something in the servers' namespace, in a thread of its own.
    pub(super) fn as_server<T: Send>(&self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside(&self.lan.server, what)
    }

    /// Runs something in the clients' namespace, in a thread of its own.
    pub(super) fn as_client<T: Send>(&self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside(&self.lan.client, what)
    }

    /// A command in the servers' namespace.
    pub(super) fn command(&self, program: &str) -> Command {
        Lan::command(&self.lan.server, program)
    }
}

fn inside<T: Send>(netns: &str, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            lan::enter(netns)?;
            what()
        });
        inside.join().ok().context("a thread in a namespace ended early")?
    })
}

/// Sets what this thread's namespace has a value of its own for.
pub(super) fn set(key: &str, value: &str) -> Result<()> {
    fs::write(Path::new("/proc/sys").join(key), value).with_context(|| format!("set {key}"))
}

/// Namespaces of runs that were killed before they could take them down.
pub(super) struct Namespaces;

impl Namespaces {
    const NAMES: &str = "bench-";

    /// Takes away what dead runs left.
    pub(super) fn sweep(wocut: &Path) -> Result<()> {
        let Ok(entries) = fs::read_dir("/run/netns") else { return Ok(()) };
        for entry in entries {
            let name = entry.context("list namespaces")?.file_name().to_string_lossy().into_owned();
            let left = maker(&name).is_some_and(|pid| !Path::new("/proc").join(pid).exists());
            if left {
                say(format_args!("take away {name}, which a dead run left"));
                let _nothing_attached =
                    command::quietly(Command::new(wocut).args(["--netns", &name, "detach", "--all"]));
                command::quietly(Command::new("ip").args(["netns", "del", &name]))?;
            }
        }
        Ok(())
    }
}

/// The process that made a namespace of ours.
fn maker(name: &str) -> Option<&str> {
    let ours = name.strip_prefix("wocut-")?.strip_prefix(Namespaces::NAMES)?;
    ours.rsplit('-').nth(1).filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::maker;

    #[test]
    fn only_namespaces_of_a_bench_are_ours() {
        assert_eq!(maker("wocut-bench-ebpf-4711-a"), Some("4711"));
        assert_eq!(maker("wocut-bench-wocut-rules-4711-b"), Some("4711"));
        assert_eq!(maker("wocut-demo-4711-a"), None);
        assert_eq!(maker("other"), None);
    }
}
