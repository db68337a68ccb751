//! The maps, and the globals that the loader sets. `wocut-common` says what each holds.

use aya_ebpf::{
    Global,
    bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, bpf_map_type::BPF_MAP_TYPE_SK_STORAGE},
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuHashMap, SockHash},
    macros::btf_map,
};
use wocut_common::{
    CounterKey, Counters, Instance, InstanceIds, ListenerKey, Owner, PortKey, Service, ServiceKey, Settings,
    Table,
    maps::{MAX_COUNTERS, MAX_INSTANCES, MAX_LISTENERS, MAX_LISTENS, MAX_PORTS, MAX_SERVICES},
};

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map(name = "settings")]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();

#[btf_map(name = "services")]
pub(crate) static SERVICES: HashMap<ServiceKey, Service, MAX_LISTENS, NO_PREALLOC> = HashMap::new();

#[btf_map(name = "slots")]
pub(crate) static SLOTS: ArrayOfMaps<Array<Table, 1>, MAX_SERVICES> = ArrayOfMaps::new();

#[btf_map(name = "instances")]
pub(crate) static INSTANCES: HashMap<u32, Instance, MAX_INSTANCES, NO_PREALLOC> = HashMap::new();

#[btf_map(name = "listeners")]
pub(crate) static LISTENERS: SockHash<ListenerKey, MAX_LISTENERS> = SockHash::new();

#[btf_map(name = "ports")]
pub(crate) static PORTS: HashMap<PortKey, InstanceIds, MAX_PORTS, NO_PREALLOC> = HashMap::new();

#[btf_map(name = "owners")]
pub(crate) static OWNERS: Inherited<Owner> = Inherited::new();

#[btf_map(name = "counters")]
pub(crate) static COUNTERS: PerCpuHashMap<CounterKey, Counters, MAX_COUNTERS, NO_PREALLOC> =
    PerCpuHashMap::new();

// The loader writes the globals below. Each names its section, because the optimizer would otherwise merge one with
// any constant of the same initial value, and the loader would change that constant too.

/// Cookie of the network namespace that is served. 0: this kernel cannot tell namespaces apart here, and no
/// listener is registered by `account`.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
pub(crate) static NETNS_COOKIE: Global<u64> = Global::new(0);

/// Offset of `sk_ack_backlog` in the running kernel's `struct sock`. 0: not known, accept queues are not looked at.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
pub(crate) static ACK_BACKLOG_OFFSET: Global<u32> = Global::new(0);

/// Offset of `sk_max_ack_backlog`.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
pub(crate) static MAX_ACK_BACKLOG_OFFSET: Global<u32> = Global::new(0);

/// Offset of `sk_flags`. 0: not known, and a received FIN counts as a byte.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata")]
pub(crate) static FLAGS_OFFSET: Global<u32> = Global::new(0);

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
