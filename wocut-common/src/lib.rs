//! What the kernel half and the user half of wocut share: the layout of every map, and the arithmetic of a pick.
//!
//! | map | key | value | written by | read by |
//! |---|---|---|---|---|
//! | `settings` | 0 | [`Settings`] | loader | loader |
//! | `services` | [`ServiceKey`] | [`Service`] | commands | picks, `account`, `explain` |
//! | `current` | service index | [`Current`] | commands, picks | picks |
//! | `slots` | [`TableId::index`] | a map that holds one [`Table`] | commands | picks |
//! | `picks` | service index | [`Picks`], one a CPU | picks | commands |
//! | `pending` | [`FlowKey`] | [`Pending`] | picks | picks |
//! | `flows` | [`FlowKey`] | [`Flow`] | ingress, egress | ingress, egress, commands |
//! | `instances` | instance id | [`Instance`] | commands | ingress; people, with bpftool |
//! | `loads` | [`Load::place`] | [`Load`] | commands, `account` | picks, commands |
//! | `listeners` | [`ListenerKey`] | a listening socket | `register`, `scan`, `account`, kernel | `lookup`, `trace`, `explain` |
//! | `ports` | [`PortKey`] | [`InstanceIds`] | commands | `account`, `scan` |
//! | `owners` | a socket | [`Owner`] | `register`, `scan`, `account` | `account`, commands |
//! | `counters` | [`CounterKey`] | [`Counters`], one a CPU | picks, `account`, egress | commands |
//! | `events` | none | [`Event`]s, in order | picks, `account` | `wocut serve` |
//!
//! Everything here is `repr(C)` integers without padding, so that both halves and `bpftool map dump` agree on every byte.

#![no_std]

mod abi;
pub mod maps;
pub mod pick;

pub use abi::{
    ABI_VERSION, Candidate, CounterKey, Counters, Current, Event, Explain, FAMILY_ANY, FAMILY_V4, FAMILY_V6,
    Flow, FlowKey, HOOK_SK_LOOKUP, HOOK_TC, Instance, InstanceIds, ListenerKey, Load, MAX_MEMBERS,
    MAX_SHARED, ON_EMPTY_DROP, ON_EMPTY_PASS, ON_EMPTY_REJECT, Offsets, Owner, POLICY_LEAST_BACKLOG,
    POLICY_LEAST_CONN, POLICY_RANDOM, POLICY_ROUND_ROBIN, POLICY_STICKY, PROTOCOL_TCP, PROTOCOL_UDP, Pending,
    Picks, PortKey, Register, SLOTS, Scanned, Service, ServiceKey, Settings, Table, TableId,
};
