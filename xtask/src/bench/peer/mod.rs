//! Everything that can lead a new connection on one port to one of many instances.

mod haproxy;
mod nginx;
mod numgen;
pub(super) mod original;
mod process;
mod service;
mod up;
pub(super) mod wocut;

use std::fs;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use self::haproxy::Balance;
use self::original::Backend;
pub(super) use self::service::{Service, Transport, ports};
use self::up::Up;
use self::wocut::{Attachment, Policy};
use super::Bench;
use super::place::Place;
use super::server::Kind;
use crate::lan::SERVER;
use crate::workspace::which;

/// Where one listener is alone, where a group shares a port, and where a peer takes connections.
pub(super) const ALONE: u16 = 80;
pub(super) const GROUP: u16 = 81;
const SERVICE: u16 = 82;

/// One way from a port to an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    /// One listener, to which everything else is compared.
    Direct,
    /// Listeners that share a port.
    Reuseport,
    /// The rules of the first wocut.
    Original(Backend),
    /// One rule of nftables with a map.
    Numgen,
    Haproxy(Balance),
    Nginx,
    Wocut(Attachment),
}

impl Peer {
    pub(super) const LEGACY: Self = Self::Original(Backend::Legacy);
    pub(super) const NFT: Self = Self::Original(Backend::Nft);
    pub(super) const HAPROXY_RANDOM: Self = Self::Haproxy(Balance::Random);
    pub(super) const HAPROXY_LEASTCONN: Self = Self::Haproxy(Balance::Leastconn);
    pub(super) const EBPF: Self = Self::ebpf(Policy::Random);
    pub(super) const TC: Self = Self::Wocut(Attachment::Tc);
    pub(super) const MPTCP: Self = Self::Wocut(Attachment::Mptcp);
    pub(super) const IPTABLES: Self = Self::Wocut(Attachment::Iptables);

    pub(super) const fn ebpf(policy: Policy) -> Self {
        Self::Wocut(Attachment::Ebpf(policy))
    }

    /// The eBPF engine with each policy.
    pub(super) fn policies() -> impl Iterator<Item = Self> {
        Policy::ALL.into_iter().map(Self::ebpf)
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Direct => super::results::DIRECT.into(),
            Self::Reuseport => "SO_REUSEPORT".into(),
            Self::Original(backend) => format!("original rules ({})", backend.name()),
            Self::Numgen => "nft numgen".into(),
            Self::Haproxy(balance) => format!("HAProxy {}", balance.name()),
            Self::Nginx => "nginx stream".into(),
            Self::Wocut(attachment) => attachment.name(),
        }
    }

    /// The namespaces that it works in: peers that leave nothing in them share theirs.
    pub(super) const fn place(self) -> &'static str {
        match self {
            Self::Direct | Self::Reuseport | Self::Haproxy(_) | Self::Nginx => PLAIN,
            Self::Original(Backend::Legacy) => "legacy",
            Self::Original(Backend::Nft) => "nft",
            Self::Numgen => "numgen",
            Self::Wocut(attachment) => attachment.place(),
        }
    }

    /// How its instances listen.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Wocut(Attachment::Mptcp) => Kind::Mptcp,
            _ => Kind::Plain,
        }
    }

    /// Whether a client's address alone decides, so that one client is one instance's.
    pub(super) const fn is_sticky(self) -> bool {
        matches!(self, Self::Wocut(Attachment::Ebpf(Policy::Sticky)))
    }

    /// Where its clients connect.
    pub(super) const fn address(self) -> SocketAddrV4 {
        let port = match self {
            Self::Direct => ALONE,
            Self::Reuseport => GROUP,
            _ => SERVICE,
        };
        SocketAddrV4::new(SERVER, port)
    }

    const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Direct | Self::Reuseport => &[],
            Self::Original(Backend::Legacy) => &["iptables-legacy", "iptables-legacy-restore"],
            Self::Original(Backend::Nft) => &["iptables-nft", "iptables-nft-restore"],
            Self::Numgen => &["nft"],
            Self::Haproxy(_) => &["haproxy"],
            Self::Nginx => &["nginx"],
            Self::Wocut(Attachment::Iptables) => &["iptables"],
            Self::Wocut(_) => &["nsenter"],
        }
    }

    /// Puts it in front of the instances of a place.
    pub(super) fn up(self, bench: &Bench, place: &Place, service: &Service) -> Result<Up> {
        for program in self.programs() {
            ensure!(which(program).is_some(), "{program} is not installed");
        }
        match self {
            Self::Direct | Self::Reuseport => Ok(Up::default()),
            Self::Original(backend) => original::up(backend, bench, place, service),
            Self::Numgen => numgen::up(bench, place, service),
            Self::Haproxy(balance) => haproxy::up(balance, bench, place, service),
            Self::Nginx => nginx::up(bench, place, service),
            Self::Wocut(attachment) => attachment.up(bench, place, service),
        }
    }
}

/// Where peers work that leave nothing behind.
pub(super) const PLAIN: &str = "plain";

/// Writes a configuration file of a peer.
fn file(bench: &Bench, name: &str, text: &str) -> Result<PathBuf> {
    let path = bench.folder.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
