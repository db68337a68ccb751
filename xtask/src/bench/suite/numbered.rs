//! A peer with a number: of instances, of services, of per cent.

use crate::bench::peer::Peer;
use crate::bench::rounds::Case;

#[derive(Clone, Copy)]
pub(super) struct Numbered {
    pub(super) peer: Peer,
    pub(super) at: u16,
}

impl Case for Numbered {
    fn path(&self) -> String {
        self.peer.name()
    }

    fn at(&self) -> Option<u64> {
        Some(self.at.into())
    }
}

/// Every peer at each number, number by number.
pub(super) fn each(peers: &[Peer], numbers: &[u16]) -> Vec<Numbered> {
    numbers.iter().flat_map(|&at| peers.iter().map(move |&peer| Numbered { peer, at })).collect()
}
