//! Two network namespaces with a cable between them. Both go with the value.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The servers' address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 117, 0, 1);

pub(crate) struct Lan {
    /// Name of the servers' namespace.
    pub(crate) server: String,
    /// Name of the clients' namespace.
    pub(crate) client: String,
}

impl Lan {
    /// Makes both, with names that begin with `what`.
    pub(crate) fn make(what: &str) -> Result<Self> {
        let id = std::process::id();
        let lan = Self { server: format!("wocut-{what}-{id}-a"), client: format!("wocut-{what}-{id}-b") };
        let Self { server, client } = &lan;
        for words in [
            format!("netns add {server}"),
            format!("netns add {client}"),
            format!("link add wocut0 netns {server} type veth peer name wocut1 netns {client}"),
            format!("-n {server} addr add {SERVER}/24 dev wocut0"),
            format!("-n {client} addr add 10.117.0.2/24 dev wocut1"),
            format!("-n {server} link set lo up"),
            format!("-n {server} link set wocut0 up"),
            format!("-n {client} link set wocut1 up"),
        ] {
            let status = Command::new("ip").args(words.split(' ')).status().context("run ip")?;
            ensure!(status.success(), "ip {words}: {status}");
        }
        Ok(lan)
    }

    /// A command inside a namespace. Not `ip netns exec`, which hides cgroup2.
    pub(crate) fn command(netns: &str, program: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--net=/run/netns/{netns}")).arg(program);
        nsenter
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for netns in [&self.server, &self.client] {
            let _absent = Command::new("ip").args(["netns", "del", netns]).stderr(Stdio::null()).status();
        }
    }
}

/// Moves this thread into a namespace, for good.
pub(crate) fn enter(netns: &str) -> Result<()> {
    let path = format!("/run/netns/{netns}");
    let target = File::open(&path).with_context(|| format!("open {path}"))?;
    move_into_link_name_space(target.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("enter {path}"))
}
