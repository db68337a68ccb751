//! What a suite stands on: a place for each peer, with servers in it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, ensure};

use crate::bench::Bench;
use crate::bench::peer::{ALONE, GROUP, PLAIN, Peer, Service, Transport, ports};
use crate::bench::place::Place;
use crate::bench::server::{Datagrams, Echo, Kind, Workers, datagram_sockets, listeners};

/// The sockets of a place, before a server takes them.
pub(super) struct Sockets {
    /// One that is alone on its port, where peers leave nothing behind.
    pub(super) alone: Vec<OwnedFd>,
    /// As many as there are instances, on one port.
    pub(super) group: Vec<OwnedFd>,
    pub(super) instances: Vec<OwnedFd>,
}

impl Sockets {
    fn all(self) -> Vec<OwnedFd> {
        let Self { alone, group, instances } = self;
        alone.into_iter().chain(group).chain(instances).collect()
    }
}

/// Whoever answers in a place.
pub(super) trait Serve: Sized {
    const TRANSPORT: Transport;
    fn start(sockets: Sockets) -> Result<Self>;
    /// What each socket has been given.
    fn taken(&self) -> Vec<u64>;
}

impl Serve for Echo {
    const TRANSPORT: Transport = Transport::Tcp;

    fn start(sockets: Sockets) -> Result<Self> {
        Self::start(sockets.all())
    }

    fn taken(&self) -> Vec<u64> {
        self.accepted()
    }
}

impl Serve for Datagrams {
    const TRANSPORT: Transport = Transport::Udp;

    fn start(sockets: Sockets) -> Result<Self> {
        Self::start(sockets.all())
    }

    fn taken(&self) -> Vec<u64> {
        self.received()
    }
}

impl Serve for Workers {
    const TRANSPORT: Transport = Transport::Tcp;

    /// Each works for the lone socket, for one of the group and for one instance.
    fn start(sockets: Sockets) -> Result<Self> {
        let Sockets { alone, group, instances } = sockets;
        let mut group = group.into_iter();
        let workers = instances.into_iter().map(|instance| {
            let shared = alone.iter().map(|socket| socket.try_clone().context("share a listener"));
            shared.chain(group.next().map(Ok)).chain([Ok(instance)]).collect()
        });
        Ok(Self::start(workers.collect::<Result<_>>()?))
    }

    fn taken(&self) -> Vec<u64> {
        self.accepted()
    }
}

/// A place with its servers, which end before it goes.
pub(super) struct Stand<S> {
    pub(super) servers: S,
    pub(super) place: Place,
}

pub(super) struct Ground<S> {
    stands: BTreeMap<&'static str, Stand<S>>,
}

impl<S: Serve> Ground<S> {
    /// Makes the places of these peers, with that many instances in each.
    pub(super) fn make(peers: &[Peer], instances: u16) -> Result<Self> {
        let mut stands = BTreeMap::new();
        for peer in peers {
            if !stands.contains_key(peer.place()) {
                let stand = stand(*peer, instances, peers.contains(&Peer::Reuseport));
                stands.insert(peer.place(), stand.with_context(|| format!("prepare {}", peer.name()))?);
            }
        }
        Ok(Self { stands })
    }

    /// The place of a peer.
    pub(super) fn of(&self, peer: Peer) -> Result<&Stand<S>> {
        self.stands.get(peer.place()).context("find a peer's place")
    }

    /// Puts a peer in place, measures, and takes it down; connections that reach no or only one of its instances are
    /// no measurement.
    pub(super) fn with<T>(
        &self,
        bench: &Bench,
        peer: Peer,
        instances: u16,
        measure: impl FnOnce(&Stand<S>) -> Result<T>,
    ) -> Result<T> {
        let stand = self.of(peer)?;
        let service = Service { transport: S::TRANSPORT, instances: ports(instances) };
        let _up = peer.up(bench, &stand.place, &service)?;
        let before = stand.servers.taken();
        let measured = measure(stand)?;
        let after = stand.servers.taken();
        let served = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        let spread = if peer == Peer::Direct || peer.is_sticky() { 1 } else { usize::from(instances.min(2)) };
        ensure!(served >= spread, "only {served} of {instances} instances were given anything");
        Ok(measured)
    }
}

fn stand<S: Serve>(peer: Peer, instances: u16, with_group: bool) -> Result<Stand<S>> {
    let place = Place::make(peer.place())?;
    let make = match S::TRANSPORT {
        Transport::Tcp => listeners,
        Transport::Udp => datagram_sockets,
    };
    let (mut alone, mut group) = (Vec::new(), Vec::new());
    if peer.place() == PLAIN {
        alone = make(&place, Kind::Plain, &[ALONE])?;
        if with_group {
            group = make(&place, Kind::Reuseport, &vec![GROUP; usize::from(instances)])?;
        }
    }
    let instances = make(&place, peer.kind(), &ports(instances))?;
    Ok(Stand { servers: S::start(Sockets { alone, group, instances })?, place })
}
