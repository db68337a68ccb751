//! Map names (15 characters at most, as the kernel cuts longer ones) and capacities.

/// One record: [`crate::Settings`].
pub const SETTINGS: &str = "settings";
/// What is listened on, and for which service.
pub const SERVICES: &str = "services";
/// Which slot table each service goes by, whose turn it is, and other things that change from pick to pick.
pub const CURRENT: &str = "current";
/// The slot tables, those of services and spare ones.
pub const SLOTS: &str = "slots";
/// One record an instance, for people and their tools.
pub const INSTANCES: &str = "instances";
/// The listening sockets of the instances.
pub const LISTENERS: &str = "listeners";
/// Which instances a new listener on a port serves.
pub const PORTS: &str = "ports";
/// Which instance a socket belongs to.
pub const OWNERS: &str = "owners";
/// Counters of services.
pub const PICKS: &str = "picks";
/// Counters of instances.
pub const COUNTERS: &str = "counters";
/// How many connections each instance has.
pub const LOADS: &str = "loads";
/// Picks that cannot be worked out again, and will be asked for again.
pub const PENDING: &str = "pending";
/// What programs saw of instances, for a process that reads along.
pub const EVENTS: &str = "events";
/// Flows of UDP, both ways. Pinned only while a service has a UDP LISTEN or the `tc` hook.
pub const FLOWS: &str = "flows";

/// Every map that is always pinned under its name.
pub const PINNED: [&str; 13] = [
    SETTINGS, SERVICES, CURRENT, SLOTS, INSTANCES, LISTENERS, PORTS, OWNERS, PICKS, COUNTERS, LOADS, PENDING,
    EVENTS,
];

/// Services in one network namespace.
pub const MAX_SERVICES: usize = 1024;
/// Slot tables. Index 0 stays empty.
pub const MAX_TABLES: usize = MAX_SERVICES + 128;
/// LISTENs of all services, each address family counted, and guarded ports.
pub const MAX_LISTENS: usize = 4 * MAX_SERVICES + 2 * MAX_INSTANCES;
/// Instances of all services in one network namespace.
pub const MAX_INSTANCES: usize = 16 * 1024;
/// Most instances have one listener, or one for each family.
pub const MAX_LISTENERS: usize = 4 * MAX_INSTANCES;
/// A row for the bare port and one for each family and address.
pub const MAX_PORTS: usize = 4 * MAX_INSTANCES;
/// Picks that are remembered for SYN cookies, in all.
pub const MAX_PENDING: usize = 16 * 1024;
/// Bytes of events that a process may be behind before some are lost.
pub const EVENT_BYTES: usize = 64 * 1024;
/// Flows of UDP, each two entries; the one that was silent for longest goes first.
pub const MAX_FLOWS: usize = 128 * 1024;
