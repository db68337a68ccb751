//! The maps, and the globals that the loader sets. `wocut-common` says what each holds.

use aya_ebpf::{
    Global,
    bindings::{BPF_F_CLONE, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_map_type::BPF_MAP_TYPE_SK_STORAGE},
    btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf, SockHash},
    macros::btf_map,
};
use wocut_common::{
    CounterKey, Counters, Current, Event, Flow, FlowKey, Instance, InstanceIds, ListenerKey, Load, Offsets,
    Owner, Pending, Picks, PortKey, Service, ServiceKey, Settings, Table,
    maps::{
        EVENT_BYTES, MAX_INSTANCES, MAX_LISTENERS, MAX_LISTENS, MAX_PENDING, MAX_PORTS, MAX_SERVICES,
        MAX_TABLES,
    },
};

use crate::packet::Packet;

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map(name = "settings")]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();

#[btf_map(name = "services")]
pub(crate) static SERVICES: HashMap<ServiceKey, Service, MAX_LISTENS, NO_PREALLOC> = HashMap::new();

/// Shared with processes, which change the table of a row by one store.
#[btf_map(name = "current")]
pub(crate) static CURRENT: Array<Current, MAX_SERVICES, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map(name = "slots")]
pub(crate) static SLOTS: ArrayOfMaps<Array<Table, 1>, MAX_TABLES> = ArrayOfMaps::new();

#[btf_map(name = "instances")]
pub(crate) static INSTANCES: HashMap<u32, Instance, MAX_INSTANCES, NO_PREALLOC> = HashMap::new();

#[btf_map(name = "listeners")]
pub(crate) static LISTENERS: SockHash<ListenerKey, MAX_LISTENERS> = SockHash::new();

#[btf_map(name = "ports")]
pub(crate) static PORTS: HashMap<PortKey, InstanceIds, MAX_PORTS, NO_PREALLOC> = HashMap::new();

#[btf_map(name = "owners")]
pub(crate) static OWNERS: Inherited<Owner> = Inherited::new();

#[btf_map(name = "picks")]
pub(crate) static PICKS: PerCpuArray<Picks, MAX_SERVICES> = PerCpuArray::new();

#[btf_map(name = "counters")]
pub(crate) static COUNTERS: PerCpuHashMap<CounterKey, Counters, MAX_INSTANCES, NO_PREALLOC> =
    PerCpuHashMap::new();

#[btf_map(name = "loads")]
pub(crate) static LOADS: Array<Load, MAX_INSTANCES> = Array::new();

#[btf_map(name = "pending")]
pub(crate) static PENDING: LruHashMap<FlowKey, Pending, MAX_PENDING> = LruHashMap::new();

#[btf_map(name = "events")]
pub(crate) static EVENTS: RingBuf<Event, EVENT_BYTES> = RingBuf::new();

/// The loader gives it its size when a service needs it.
#[btf_map(name = "flows")]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow, 1> = LruHashMap::new();

/// The packet that `ingress` is at, for its functions: those that the verifier checks by themselves take no pointers.
#[btf_map(name = "packet")]
pub(crate) static PACKET: PerCpuArray<Packet, 1> = PerCpuArray::new();

// The loader writes the globals below. Each names its section, because the optimizer would otherwise merge one with
// any constant of the same initial value, and the loader would change that constant too.

/// Inode number of the network namespace that is served. 0: this kernel cannot tell namespaces apart here, and no
/// listener is registered by `account`.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
pub(crate) static NETNS_INODE: Global<u32> = Global::new(0);

/// That of `settings`. The kernel puts it into the code.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
pub(crate) static HASH_KEY: [u64; 2] = [0; 2];

/// Where the running kernel keeps what is read of its sockets. Read by [`offset`](crate::kernel::offset).
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
pub(crate) static OFFSETS: Offsets = Offsets {
    ack_backlog: 0,
    max_ack_backlog: 0,
    syn_queue: 0,
    flags: 0,
    error: 0,
    net: 0,
    net_inode: 0,
    syn_cookies: 0,
    state: 0,
    family: 0,
    port: 0,
    device: 0,
    address_v4: 0,
    address_v6: 0,
};

/// 1 where `struct bpf_sk_lookup` has the interface (Linux 5.17).
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
pub(crate) static HAS_INTERFACE: Global<u32> = Global::new(0);

/// Socket storage that an accepted connection inherits from its listener (`BPF_F_CLONE`), which aya's own type
/// cannot say.
#[repr(C)]
pub(crate) struct Inherited<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the fields describe the map to the loader and are never read.
unsafe impl<T> Sync for Inherited<T> {}

impl<T> Inherited<T> {
    const fn new() -> Self {
        use core::ptr::null;
        Self { r#type: null(), key: null(), value: null(), max_entries: null(), map_flags: null() }
    }

    /// The map itself, as helpers take it.
    pub(crate) const fn as_ptr(&self) -> *mut core::ffi::c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}
