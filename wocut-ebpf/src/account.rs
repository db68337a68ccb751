//! Registers listeners as they come up, and counts the connections of instances from first to last packet.

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
        BPF_SOCK_OPS_TCP_LISTEN_CB, BPF_TCP_CLOSE, BPF_TCP_CLOSE_WAIT, BPF_TCP_CLOSING, BPF_TCP_ESTABLISHED,
        BPF_TCP_FIN_WAIT1, BPF_TCP_FIN_WAIT2, BPF_TCP_LAST_ACK, bpf_sock, bpf_sock_ops,
    },
    helpers::bpf_sock_hash_update,
    programs::SockOpsContext,
};
use wocut_common::{
    CounterKey, Event, InstanceIds, ListenerKey, Load, Owner, PROTOCOL_TCP, PortKey, Service, ServiceKey,
};

use crate::{
    event,
    kernel::{self, bytes, field, raw},
    maps::{COUNTERS, LISTENERS, LOADS, PORTS},
    pick::{count, service_at},
    register::register,
};

/// A socket has changed.
#[inline(always)]
pub(crate) fn event(ctx: &SockOpsContext) -> u32 {
    let ops: *mut bpf_sock_ops = raw(ctx);
    match field!(ops, op) {
        BPF_SOCK_OPS_TCP_LISTEN_CB => listening(ops),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(ops),
        BPF_SOCK_OPS_STATE_CB if field!(ops, __bindgen_anon_1.args[1]) == BPF_TCP_CLOSE => closed(ops),
        _ => {}
    }
    // 1 lets the kernel go on; the value of other answers is taken from the context.
    1
}

/// The context's socket.
#[inline(always)]
fn socket(ops: *mut bpf_sock_ops) -> Option<*mut bpf_sock> {
    let socket = field!(ops, __bindgen_anon_2.sk);
    (!socket.is_null()).then_some(socket)
}

/// A daemon called `listen(2)`: if it is an instance, it can be picked from here on.
#[inline(always)]
fn listening(ops: *mut bpf_sock_ops) {
    let Some(socket) = socket(ops) else { return };
    if !kernel::is_ours(socket) {
        return;
    }
    // A child of a listener that is bound to a device answers through that device alone: such a one is not used.
    if field!(socket, bound_dev_if) != 0 {
        return;
    }
    let (family, address, port) = kernel::local_end(ops);
    let Some(instances) = instances_at(bytes(address), port, family) else { return };
    for instance in instances {
        if instance == 0 {
            break;
        }
        register(instance, family, |key, flags| put(ops, key, flags));
        event::tell(instance, Event::LISTENS);
    }
    kernel::set_owner(socket, Owner { instances, service: Owner::UNCOUNTED });
}

/// The instances that a listener bound there serves.
#[inline(always)]
pub(crate) fn instances_at(address: [u8; 16], port: u16, family: u8) -> Option<InstanceIds> {
    let bound = PortKey { address, port, family, reserved: 0 };
    // SAFETY: the ids are copied out at once.
    unsafe { PORTS.get(bound).or_else(|| PORTS.get(PortKey::other_address(port))) }.copied()
}

#[inline(always)]
fn put(ops: *mut bpf_sock_ops, mut key: ListenerKey, flags: u64) -> i64 {
    let map = core::ptr::from_ref(&LISTENERS).cast_mut().cast();
    // SAFETY: the helper reads one key. What it refuses (an MPTCP listener) `status` tells.
    unsafe { bpf_sock_hash_update(ops, map, core::ptr::from_mut(&mut key).cast(), flags) }
}

/// A handshake is complete: count it if it came through a service, and ask to hear of its end.
#[inline(always)]
fn established(ops: *mut bpf_sock_ops) {
    let Some(socket) = socket(ops) else { return };
    let Some(owner) = kernel::owner(socket) else { return };
    let (family, address, port) = kernel::local_end(ops);
    let anywhere = ServiceKey { address: [0; 16], port, family, protocol: PROTOCOL_TCP };
    let service = service_at(anywhere, || bytes(address));
    // None: the client came to the instance's own port.
    let Some(Service { index: service, .. }) = service else { return };
    for instance in owner.instances {
        let Some(row) = COUNTERS.get_ptr_mut(CounterKey { service, instance }) else { continue };
        // SAFETY: the row lives as long as this run of the program.
        kernel::add(unsafe { &raw mut (*row).opened }, 1);
        add_open(instance, 1);
        *owner = Owner { instances: [instance, 0, 0, 0], service };
        let flags = field!(ops, bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG;
        let _unheard = SockOpsContext::new(ops).set_cb_flags(flags as i32);
        break;
    }
}

/// A connection has ended.
#[inline(always)]
fn closed(ops: *mut bpf_sock_ops) {
    let Some(socket) = socket(ops) else { return };
    let Some(owner) = kernel::owner(socket) else { return };
    if owner.service == Owner::UNCOUNTED {
        return;
    }
    // The kernel counts a FIN as a byte, in both directions.
    let received = field!(ops, bytes_received) - u64::from(kernel::fin_received(socket));
    let all_acked = field!(ops, snd_una) == field!(ops, snd_nxt);
    let fin_sent = matches!(
        field!(ops, __bindgen_anon_1.args[0]),
        BPF_TCP_FIN_WAIT1 | BPF_TCP_FIN_WAIT2 | BPF_TCP_CLOSING | BPF_TCP_LAST_ACK
    );
    let sent = field!(ops, bytes_acked) - u64::from(fin_sent && all_acked);
    // Whoever resets a connection closes it at once, and only one that the client has reset bears an error by now.
    if sent == 0 && was_open(field!(ops, __bindgen_anon_1.args[0])) && kernel::has_no_error(socket) {
        event::failed(owner.instances[0], Event::RESET);
    }
    add_open(owner.instances[0], u64::MAX);
    count(owner.service, owner.instances[0], |row| {
        kernel::add(&raw mut row.received_bytes, received);
        kernel::add(&raw mut row.sent_bytes, sent);
    });
}

/// Whether a connection was in use by its daemon still.
#[inline(always)]
fn was_open(state: u32) -> bool {
    matches!(state, BPF_TCP_ESTABLISHED | BPF_TCP_CLOSE_WAIT)
}

/// Changes the number of connections that an instance has; `u64::MAX` is one less.
#[inline(always)]
fn add_open(instance: u32, change: u64) {
    let Some(load) = LOADS.get_ptr_mut(Load::place(instance)) else { return };
    // SAFETY: entries of an array stay.
    let (owner, open) = unsafe { ((*load).instance, &raw mut (*load).open) };
    if owner == instance {
        kernel::add(open, change);
    }
}
