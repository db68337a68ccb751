//! How many connections there may be, and of whom.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::access::Caller;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    User(u32),
    Address(IpAddr),
}

/// Connections that are open.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    most: usize,
    of_one: usize,
    taken: Arc<Mutex<BTreeMap<Owner, usize>>>,
}

/// One connection. It gives its place back.
#[derive(Debug)]
pub(super) struct Slot {
    owner: Owner,
    taken: Arc<Mutex<BTreeMap<Owner, usize>>>,
}

impl Slots {
    pub(super) fn new(most: usize, of_one: usize) -> Self {
        Self { most, of_one, taken: Arc::default() }
    }

    /// A place for one more connection. A few users or addresses cannot keep all others out, and nobody keeps root out.
    pub(super) fn take(&self, caller: &Caller) -> Option<Slot> {
        let owner = match caller {
            Caller::Unix(peer) => Owner::User(peer.uid),
            Caller::Tcp(address) => Owner::Address(of_one(address.ip())),
        };
        let mut taken = lock(&self.taken);
        let own = taken.get(&owner).copied().unwrap_or(0);
        let strangers = taken.iter().filter(|(owner, _)| **owner != Owner::User(0)).map(|(_, own)| own);
        let has_room = match owner {
            Owner::User(0) => own < self.most,
            _ => own < self.of_one && strangers.sum::<usize>() < self.most,
        };
        if !has_room {
            return None;
        }
        *taken.entry(owner).or_default() += 1;
        drop(taken);
        Some(Slot { owner, taken: self.taken.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(own) = taken.get_mut(&self.owner) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.owner);
            }
        }
    }
}

/// Whoever has one IPv6 address has as many as a prefix of 64 bits.
fn of_one(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn lock(taken: &Mutex<BTreeMap<Owner, usize>>) -> MutexGuard<'_, BTreeMap<Owner, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Slots;
    use crate::{api::access::Caller, sys::peer::Peer};

    fn user(uid: u32) -> Caller {
        Caller::Unix(Peer { pid: 1, uid, groups: Vec::new() })
    }

    fn tcp(address: &str) -> Caller {
        Caller::Tcp(address.parse().unwrap())
    }

    #[test]
    fn one_does_not_keep_the_others_out() {
        let slots = Slots::new(4, 2);
        let held = [slots.take(&user(7)).unwrap(), slots.take(&user(7)).unwrap()];
        assert!(slots.take(&user(7)).is_none());
        let other = slots.take(&tcp("192.0.2.1:1")).unwrap();
        let _another = slots.take(&tcp("[2001:db8::1]:1")).unwrap();
        assert!(slots.take(&user(8)).is_none(), "all places are taken");
        assert!(slots.take(&user(0)).is_some(), "but for root");
        drop((held, other));
        let _again = slots.take(&tcp("[2001:db8::2]:1")).unwrap();
        assert!(slots.take(&tcp("[2001:db8::3]:1")).is_none(), "one prefix is one client");
        assert!(slots.take(&user(7)).is_some());
    }
}
