//! Keys and values of the maps.

use crate::maps::{MAX_INSTANCES, MAX_SERVICES, MAX_TABLES};

/// Changes with every layout or meaning in this crate; a command that finds another version pinned leaves it alone.
pub const ABI_VERSION: u32 = 4;

/// Entries of a slot table. 16 bits of hash pick one, so a 64-bit hash names four.
pub const SLOTS: usize = 1 << 16;
/// Instances of one service that can be picked. A power of two, so that the verifier sees the bound of an index.
pub const MAX_MEMBERS: usize = 1024;
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
/// `IPPROTO_UDP`.
pub const PROTOCOL_UDP: u8 = 17;

/// The slot of a keyed hash of the 4-tuple.
pub const POLICY_RANDOM: u32 = 0;
/// The slots in order, [`Table::turns`] of them.
pub const POLICY_ROUND_ROBIN: u32 = 1;
/// The fewest open connections, by weight.
pub const POLICY_LEAST_CONN: u32 = 2;
/// The shortest accept queue; of equals, the fewest open connections, by weight.
pub const POLICY_LEAST_BACKLOG: u32 = 3;
/// The slot of a keyed hash of the client's address.
pub const POLICY_STICKY: u32 = 4;

/// The lookup of a listener picks: the `lookup` program.
pub const HOOK_SK_LOOKUP: u32 = 0;
/// Incoming packets are picked for: the `ingress` program.
pub const HOOK_TC: u32 = 1;

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
    /// Key of the pick's hash, drawn when the maps are made, so that clients cannot choose their instance. The loader
    /// writes it into every program.
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
    /// [`PROTOCOL_TCP`] or [`PROTOCOL_UDP`].
    pub protocol: u8,
}

/// Where a LISTEN leads, or that a port is guarded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Index into `current` and `picks`, or [`Service::GUARD`].
    pub index: u32,
    /// [`HOOK_SK_LOOKUP`] or [`HOOK_TC`].
    pub hook: u32,
    /// Of a row for every address: 1 if there are rows for single addresses with the same port, which come first.
    pub by_address: u32,
}

impl Service {
    /// In place of an index: this is the port of an instance, which is for clients on this host alone.
    pub const GUARD: u32 = u32::MAX;
}

/// What a service goes by, and what changes from pick to pick of it: one line of the processor's cache.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// The slot table. Commands write it alone, in one store.
    pub table: TableId,
    /// Picks in turn so far.
    pub taken: u64,
    /// When a pick was last put into `pending`, in ns since boot; 0 for never.
    pub remembered: u64,
    /// When a listener was last seen to answer with SYN cookies for want of room, in ns since boot; 0 for never.
    pub flooded: u64,
}

/// Names a slot table: one number, so that it changes in one step.
///
/// The lower 16 bits are the table's index into `slots`, 0 for none. Above them are 48 bits of the fingerprint of the
/// plan that the table was made from: one that differs from the wanted plan's is made anew.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableId(pub u64);

impl TableId {
    const TABLE: u64 = 0xffff;

    /// A table, and what it was made from.
    #[must_use]
    pub const fn new(table: u16, fingerprint: u64) -> Self {
        Self(fingerprint & !Self::TABLE | table as u64)
    }

    /// Index into `slots`; 0 for none.
    #[must_use]
    pub const fn index(self) -> u32 {
        (self.0 & Self::TABLE) as u32
    }

    /// Whether the table was made from the plan of this fingerprint.
    #[must_use]
    pub const fn is_of(self, fingerprint: u64) -> bool {
        self.index() != 0 && self.0 & !Self::TABLE == fingerprint & !Self::TABLE
    }
}

/// All that a pick needs to know of one service. It is written only while no program can see it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Instances in `members`.
    pub len: u32,
    /// One less than the next power of two from `len` up: what a walk over the members wraps at.
    pub mask: u32,
    /// [`ON_EMPTY_PASS`], [`ON_EMPTY_REJECT`] or [`ON_EMPTY_DROP`].
    pub on_empty: u32,
    /// [`POLICY_RANDOM`] and so on.
    pub policy: u32,
    /// For [`POLICY_STICKY`]: which bits of an IPv4 client count, in network order.
    pub prefix_v4: u32,
    /// For [`POLICY_STICKY`]: which bits of an IPv6 client count, in network order.
    pub prefix_v6: [u32; 4],
    /// For [`POLICY_ROUND_ROBIN`]: how many slots from the first on make one round. At least 1.
    pub turns: u32,
    /// Ids of the instances that may be picked.
    pub members: [u32; MAX_MEMBERS],
    /// Their weights.
    pub weights: [u16; MAX_MEMBERS],
    /// Indices into `members`; an instance's share of them is its share of the picks.
    pub slots: [u16; SLOTS],
}

/// How busy an instance is. Its place is its id modulo [`MAX_INSTANCES`]: of the ids in use, no two share one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections established and not ended.
    pub open: u64,
    /// Whose they are: one that ends when another instance has the place is not counted.
    pub instance: u32,
    /// When a failure of the instance was last told of in `events`, in [`Event::PERIOD`]s.
    pub told: u32,
}

impl Load {
    /// As many as [`MAX_INSTANCES`].
    const PLACES: u32 = 16 * 1024;

    /// The place of an instance.
    #[must_use]
    pub const fn place(instance: u32) -> u32 {
        instance % Self::PLACES
    }
}

/// Both ends of a connection or of a flow of datagrams.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The client's address, in network order; IPv4 takes the first four bytes.
    pub remote: [u8; 16],
    /// The address that it reaches, likewise.
    pub local: [u8; 16],
    /// The client's port, in host order.
    pub remote_port: u16,
    /// The port on this host, in host order.
    pub local_port: u16,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// [`PROTOCOL_TCP`] or [`PROTOCOL_UDP`].
    pub protocol: u8,
    /// In `flows`, [`FlowKey::REQUESTS`] or [`FlowKey::REPLIES`].
    pub direction: u16,
}

impl FlowKey {
    /// `local_port` is the service's.
    pub const REQUESTS: u16 = 0;
    /// `local_port` is the instance's.
    pub const REPLIES: u16 = 1;
}

/// Where the datagrams of a flow go.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// When the last one was seen, in ns since boot.
    pub seen: u64,
    /// Id of the instance.
    pub instance: u32,
    /// Index of the service.
    pub service: u32,
    /// Of requests: the instance's port; of replies: the service's. In host order.
    pub port: u32,
    /// 0.
    pub reserved: u32,
}

impl Flow {
    /// One that was silent for so many ns is a new one: longer than any daemon's keepalive.
    pub const IDLE: u64 = 180_000_000_000;
}

/// A pick that the kernel will ask for again.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// When it was made, in ns since boot.
    pub made: u64,
    /// Id of the instance.
    pub instance: u32,
    /// 0.
    pub reserved: u32,
}

/// One instance, as bpftool shows it and as `ingress` finds its port.
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
    /// Not an index of a service.
    pub const UNCOUNTED: u32 = u32::MAX;
}

/// Names a row of counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey {
    /// Index of the service.
    pub service: u32,
    /// Instance id.
    pub instance: u32,
}

/// Counts of an instance since it was added. One copy a CPU; only sums mean anything.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Picks that chose it.
    pub picked: u64,
    /// Picks that passed it over because it could not take the connection.
    pub failovers: u64,
    /// Connections established.
    pub opened: u64,
    /// Bytes received from clients on ended connections.
    pub received_bytes: u64,
    /// Bytes that clients acknowledged on ended connections.
    pub sent_bytes: u64,
}

impl Counters {
    /// Adds another CPU's copy.
    pub const fn add(&mut self, other: &Self) {
        let Self { picked, failovers, opened, received_bytes, sent_bytes } = other;
        self.picked = self.picked.wrapping_add(*picked);
        self.failovers = self.failovers.wrapping_add(*failovers);
        self.opened = self.opened.wrapping_add(*opened);
        self.received_bytes = self.received_bytes.wrapping_add(*received_bytes);
        self.sent_bytes = self.sent_bytes.wrapping_add(*sent_bytes);
    }
}

/// Counts of a service since it was added. One copy a CPU, as of [`Counters`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picks {
    /// Picks made.
    pub made: u64,
    /// Those that found no instance at all.
    pub unserved: u64,
}

impl Picks {
    /// Adds another CPU's copy.
    pub const fn add(&mut self, other: &Self) {
        let Self { made, unserved } = other;
        self.made = self.made.wrapping_add(*made);
        self.unserved = self.unserved.wrapping_add(*unserved);
    }
}

/// What a program saw of an instance.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub instance: u32,
    /// One of the constants.
    pub what: u32,
}

impl Event {
    /// A daemon listens for it from now on.
    pub const LISTENS: u32 = 0;
    /// A connection was for it, and nobody listens.
    pub const ABSENT: u32 = 1;
    /// A connection was for it, and its accept queue is full.
    pub const FULL: u32 = 2;
    /// A connection was for it, and the kernel would not give it to the listener.
    pub const REFUSED: u32 = 3;
    /// It reset a connection on which it had sent nothing.
    pub const RESET: u32 = 4;

    /// Failures of one instance are told of once in 2 to the power of this many ns: about 60 times a second.
    pub const PERIOD: u32 = 24;
}

/// Where the running kernel keeps what programs read of its sockets: byte offsets from its own type information. The
/// loader writes them into the programs. 0 where the kernel has no type information.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// `sk_ack_backlog`: connections that wait to be accepted. 0: accept queues are not looked at.
    pub ack_backlog: u32,
    /// `sk_max_ack_backlog`.
    pub max_ack_backlog: u32,
    /// In `struct inet_connection_sock`, requests in the SYN queue. 0: SYN cookies are not foreseen.
    pub syn_queue: u32,
    /// `sk_flags`. 0: a received FIN counts as a byte.
    pub flags: u32,
    /// `sk_err`. 0: connections that an instance resets are not told of.
    pub error: u32,
    /// `skc_net`, a pointer to the namespace of a socket.
    pub net: u32,
    /// In `struct net`, its inode number.
    pub net_inode: u32,
    /// In `struct net`, `sysctl_tcp_syncookies`.
    pub syn_cookies: u32,
    /// `skc_state`.
    pub state: u32,
    /// `skc_family`.
    pub family: u32,
    /// `skc_num`, the local port.
    pub port: u32,
    /// `skc_bound_dev_if`.
    pub device: u32,
    /// `skc_rcv_saddr`, the local IPv4 address.
    pub address_v4: u32,
    /// `skc_v6_rcv_saddr`.
    pub address_v6: u32,
}

/// The beginning of the packet of a test run of the `explain` program: a connection. After it is room for
/// [`Explain::CANDIDATES`] times a [`Candidate`], the answer.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explain {
    /// As in [`Register`].
    pub ethernet: [u8; 14],
    /// The client's port, in host order.
    pub remote_port: u16,
    /// The client's address, in network order; IPv4 takes the first four bytes.
    pub remote: [u8; 16],
    /// The address that it reaches, likewise.
    pub local: [u8; 16],
    /// The service's port, in host order.
    pub local_port: u16,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// [`PROTOCOL_TCP`] or [`PROTOCOL_UDP`].
    pub protocol: u8,
}

impl Explain {
    /// What a policy that goes by state prefers, the four choices of the hash, and as many members after the first as
    /// people may want to read of. One instance may be there several times.
    pub const CANDIDATES: usize = 1 + 4 + 16;
}

/// One whom a pick would ask.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Id of the instance; 0 for nobody.
    pub instance: u32,
    /// 0: it would take the connection; 1: it has no listener for it; 2: its accept queue is full.
    pub outcome: u32,
}

/// What the `scan` program writes of a listener that serves instances.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// It is bound to, in network order; IPv4 takes the first four bytes.
    pub address: [u8; 16],
    /// In host order.
    pub port: u16,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u16,
    /// The interface that it is bound to, and so not registered; 0 for none.
    pub device: u32,
    /// The first negative errno of putting it into `listeners`, else 0.
    pub error: i32,
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
    assert!(size_of::<Service>() == 12);
    assert!(size_of::<Current>() == 32 && MAX_TABLES as u64 <= TableId::TABLE);
    assert!(size_of::<Table>() == 40 + 6 * MAX_MEMBERS + 2 * SLOTS);
    assert!(size_of::<Instance>() == 28);
    assert!(size_of::<ListenerKey>() == 8);
    assert!(size_of::<PortKey>() == 20);
    assert!(size_of::<Owner>() == 20);
    assert!(size_of::<CounterKey>() == 8);
    assert!(size_of::<Counters>() == 40);
    assert!(size_of::<Picks>() == 16);
    assert!(size_of::<Load>() == 16 && Load::PLACES as usize == MAX_INSTANCES);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<Flow>() == 24);
    assert!(size_of::<Pending>() == 16);
    assert!(size_of::<Register>() == 64);
    assert!(size_of::<Offsets>() == 56);
    assert!(size_of::<Event>() == 8);
    assert!(size_of::<Scanned>() == 28);
    assert!(size_of::<Explain>() == 52 && size_of::<Candidate>() == 8);
    // A choice is 16 bits of a hash: see `pick::slot`.
    assert!(SLOTS == 1 << 16);
    assert!(MAX_MEMBERS.is_power_of_two() && MAX_MEMBERS <= u16::MAX as usize);
    assert!(MAX_SERVICES < Owner::UNCOUNTED as usize && MAX_SERVICES < Service::GUARD as usize);
};

#[cfg(feature = "user")]
mod pod {
    use super::{
        CounterKey, Counters, Current, Flow, FlowKey, Instance, ListenerKey, Load, Offsets, Owner, Pending,
        Picks, PortKey, Service, ServiceKey, Settings, Table,
    };

    macro_rules! plain_data {
        ($($name:ident)*) => {
            $(
                // SAFETY: `repr(C)`, integers only, and the size asserts above leave no room for padding.
                unsafe impl aya::Pod for $name {}
            )*
        };
    }

    plain_data!(
        CounterKey Counters Current Flow FlowKey Instance ListenerKey Load Offsets Owner Pending Picks PortKey
        Service ServiceKey Settings Table
    );
}
