//! Keys and values of the maps.

use crate::maps::MAX_SERVICES;

/// Changes with every layout or meaning in this crate; a command that finds another version pinned leaves it alone.
pub const ABI_VERSION: u32 = 1;

/// Entries of a slot table. 16 bits of hash pick one, so a 64-bit hash names four.
pub const SLOTS: usize = 1 << 16;
/// Instances of one service that can be picked. A power of two, so that the verifier sees the bound of an index.
pub const MAX_MEMBERS: usize = 512;
/// Instances that may share one listening socket.
pub const MAX_SHARED: usize = 4;

/// Either address family.
pub const FAMILY_ANY: u8 = 0;
/// IPv4.
pub const FAMILY_V4: u8 = 4;
/// IPv6.
pub const FAMILY_V6: u8 = 6;
/// `IPPROTO_TCP`.
pub const PROTOCOL_TCP: u8 = 6;

/// Nobody can serve: the packet goes to whatever listens on the service port itself.
pub const ON_EMPTY_PASS: u32 = 0;
/// Nobody can serve: the client is refused.
pub const ON_EMPTY_REJECT: u32 = 1;

/// Nobody can serve: the packet is dropped, and the client tries again. The `tc` hook only.
pub const ON_EMPTY_DROP: u32 = 2;

/// What holds for every program of one network namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`ABI_VERSION`] of the half that made the maps.
    pub abi_version: u32,
    /// 0.
    pub reserved: u32,
    /// Cookie of the namespace; 0 where the kernel has none. Maps with another one are of a namespace that is gone.
    pub netns_cookie: u64,
    /// Key of the pick's hash, drawn when the maps are made, so that clients cannot choose their instance.
    pub hash_key: [u64; 2],
}

/// What a service listens on.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// In network order; IPv4 takes the first four bytes. All zero is every address of the family.
    pub address: [u8; 16],
    /// In host order.
    pub port: u16,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// `IPPROTO_TCP`.
    pub protocol: u8,
}

/// Where a LISTEN leads.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Index into `slots`.
    pub index: u32,
    /// 0.
    pub reserved: u32,
    /// Of the plan that the slot table holds; one that differs from the wanted plan's is built anew.
    pub fingerprint: u64,
}

/// All that a pick needs to know of one service. It is never changed, only replaced.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Instances in `members`.
    pub len: u32,
    /// One less than the next power of two from `len` up: what a walk over the members wraps at.
    pub mask: u32,
    /// [`ON_EMPTY_PASS`] or [`ON_EMPTY_REJECT`].
    pub on_empty: u32,
    /// Ids of the instances that may be picked.
    pub members: [u32; MAX_MEMBERS],
    /// Indices into `members`; an instance's share of them is its share of the picks.
    pub slots: [u16; SLOTS],
}

/// One instance, as bpftool shows it. Programs read the slot table instead.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// In network order; IPv4 takes the first four bytes. All zero when the instance was named by port alone.
    pub address: [u8; 16],
    /// In host order.
    pub port: u16,
    /// [`FAMILY_V4`], [`FAMILY_V6`], or [`FAMILY_ANY`] without an address.
    pub family: u8,
    /// 0 ready, 1 drain, 2 maint.
    pub state: u8,
    /// 0 unknown, 1 up, 2 down.
    pub health: u8,
    /// 0.
    pub reserved: u8,
    /// Relative share; 0 is drain.
    pub weight: u16,
    /// Index of its service.
    pub service: u32,
}

/// Names a listening socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerKey {
    /// Instance id.
    pub instance: u32,
    /// Family of the clients it serves: [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u16,
    /// Below [`ListenerKey::PLACES`]: an instance may have several, which are tried in this order.
    pub place: u16,
}

impl ListenerKey {
    /// Places for listeners of the family itself: several listen on one port under `SO_REUSEPORT`, and when one
    /// closes another is to be found.
    pub const OWN: u16 = 4;
    /// All of them. After its own come those for IPv6 listeners that also take IPv4.
    pub const PLACES: u16 = 2 * Self::OWN;
}

/// What a daemon may bind: see [`PortKey::any_address`] and [`PortKey::other_address`].
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// In network order; IPv4 takes the first four bytes.
    pub address: [u8; 16],
    /// In host order.
    pub port: u16,
    /// Of the listener; [`FAMILY_ANY`] for an address that no instance names.
    pub family: u8,
    /// 0.
    pub reserved: u8,
}

impl PortKey {
    /// The row for listeners on every address of `family`.
    pub const fn any_address(port: u16, family: u8) -> Self {
        Self { address: [0; 16], port, family, reserved: 0 }
    }

    /// The row for listeners on an address that no instance names.
    pub const fn other_address(port: u16) -> Self {
        Self::any_address(port, FAMILY_ANY)
    }
}

/// Instances that one listener serves; unused places are 0, which is no instance's id.
pub type InstanceIds = [u32; MAX_SHARED];

/// Travels from a listener to each connection it accepts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// On a listener: the instances that it serves. On a counted connection: the one it belongs to.
    pub instances: InstanceIds,
    /// On a counted connection: the service's index. On a listener: [`Owner::UNCOUNTED`].
    pub service: u32,
}

impl Owner {
    /// Not an index of `slots`.
    pub const UNCOUNTED: u32 = u32::MAX;
}

/// Names a row of counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey {
    /// Index of the service.
    pub service: u32,
    /// Instance id; 0 is the service's own row.
    pub instance: u32,
}

/// Counts since the service or instance was added. One copy a CPU; only sums mean anything.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Service: picks made. Instance: picks that chose it.
    pub picked: u64,
    /// Instance: picks that passed it over because it could not take the connection.
    pub failovers: u64,
    /// Service: picks that found no instance at all.
    pub unserved: u64,
    /// Instance: connections established.
    pub opened: u64,
    /// Instance: connections ended.
    pub closed: u64,
    /// Instance: bytes received from clients on ended connections.
    pub received_bytes: u64,
    /// Instance: bytes that clients acknowledged on ended connections.
    pub sent_bytes: u64,
}

impl Counters {
    /// Adds another CPU's copy.
    pub const fn add(&mut self, other: &Self) {
        let Self { picked, failovers, unserved, opened, closed, received_bytes, sent_bytes } = other;
        self.picked = self.picked.wrapping_add(*picked);
        self.failovers = self.failovers.wrapping_add(*failovers);
        self.unserved = self.unserved.wrapping_add(*unserved);
        self.opened = self.opened.wrapping_add(*opened);
        self.closed = self.closed.wrapping_add(*closed);
        self.received_bytes = self.received_bytes.wrapping_add(*received_bytes);
        self.sent_bytes = self.sent_bytes.wrapping_add(*sent_bytes);
    }
}

/// The packet of a test run of the `register` program: a question, which comes back with its answer.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// An Ethernet header of a protocol that nobody parses: the kernel wants at least that much packet.
    pub ethernet: [u8; 14],
    /// Port of the listener, in host order.
    pub port: u16,
    /// Address to look it up at, in network order; IPv4 takes the first four bytes.
    pub address: [u8; 16],
    /// [`FAMILY_V4`] or [`FAMILY_V6`]: of the lookup.
    pub family: u32,
    /// The instances that it serves.
    pub instances: InstanceIds,
    /// Source port of the lookup, in host order: where several listeners share a port, it decides which is found.
    pub source_port: u32,
    /// Answer: 0 if no listener was found, 1 if one was, 2 if it was registered already.
    pub found: u32,
    /// Answer: the first negative errno of putting it into `listeners`, else 0.
    pub error: i32,
}

impl Register {
    /// `ETH_P_802_EX1`, the ethertype for local experiments.
    pub const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
}

const _: () = {
    assert!(size_of::<Settings>() == 32);
    assert!(size_of::<ServiceKey>() == 20);
    assert!(size_of::<Service>() == 16);
    assert!(size_of::<Table>() == 12 + 4 * MAX_MEMBERS + 2 * SLOTS);
    assert!(size_of::<Instance>() == 28);
    assert!(size_of::<ListenerKey>() == 8);
    assert!(size_of::<PortKey>() == 20);
    assert!(size_of::<Owner>() == 20);
    assert!(size_of::<CounterKey>() == 8);
    assert!(size_of::<Counters>() == 56);
    assert!(size_of::<Register>() == 64);
    // A choice is 16 bits of a hash: see `pick::slot`.
    assert!(SLOTS == 1 << 16);
    assert!(MAX_MEMBERS.is_power_of_two() && MAX_MEMBERS <= u16::MAX as usize);
    assert!(MAX_SERVICES < Owner::UNCOUNTED as usize);
};

#[cfg(feature = "user")]
mod pod {
    use super::{
        CounterKey, Counters, Instance, ListenerKey, Owner, PortKey, Service, ServiceKey, Settings, Table,
    };

    macro_rules! plain_data {
        ($($name:ident)*) => {
            $(
                // SAFETY: `repr(C)`, integers only, and the size asserts above leave no room for padding.
                unsafe impl aya::Pod for $name {}
            )*
        };
    }

    plain_data!(CounterKey Counters Instance ListenerKey Owner PortKey Service ServiceKey Settings Table);
}
