//! The `tc` hook for what comes in: gives datagrams to instances by writing their port, and connections by handing
//! the packet to a listener that no socket map takes.

use core::ptr::null_mut;

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, TC_ACT_SHOT, TC_ACT_UNSPEC,
        bpf_fib_lookup as FibLookup, bpf_sock, bpf_sock_tuple,
    },
    helpers::generated::{
        bpf_fib_lookup, bpf_sk_assign, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp,
    },
    programs::TcContext,
};
use wocut_common::{
    FAMILY_ANY, FAMILY_V4, Flow, FlowKey, HOOK_TC, ON_EMPTY_DROP, PROTOCOL_TCP, PROTOCOL_UDP, Service, Table,
};

use crate::{
    icmp::translate_error,
    kernel::{self, AF_INET, AF_INET6, LOOPBACK, Tuple, field, raw},
    maps::{FLOWS, INSTANCES, PACKET},
    packet::{Packet, Side, flags},
    pick::{self, Hook, NOBODY, mode, outcome},
};

/// The next program has its say, and then the kernel.
pub(crate) const NEXT: i32 = TC_ACT_UNSPEC;
/// `PACKET_HOST`: it was sent to this host, not to everybody and not past it.
const TO_US: u32 = 0;

/// A packet has come in.
///
/// The verifier allows 512 bytes of stack to a function with all that it calls, so this one and [`datagram`] keep next
/// to nothing: the packet is in a map, and what takes room is done in functions of their own, which take the context
/// and numbers.
#[inline(always)]
pub(crate) fn ingress(ctx: &TcContext) -> i32 {
    let skb: *mut __sk_buff = raw(ctx);
    if field!(skb, pkt_type) != TO_US {
        return NEXT;
    }
    if read_packet(skb, 0) == 0 {
        translate_error(skb);
        return NEXT;
    }
    let Some(packet) = PACKET.get(0) else { return NEXT };
    let Some(service) = pick::service_of(&packet.tuple) else { return NEXT };
    match packet.tuple.protocol {
        PROTOCOL_UDP if service.index == Service::GUARD => guard(skb),
        PROTOCOL_UDP => datagram(skb, service.index),
        _ if service.hook == HOOK_TC && service.index != Service::GUARD => segment(skb, service.index),
        _ => NEXT,
    }
}

/// Reads a packet into `packet`. Returns 0 if there is nothing in it for us.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn read_packet(ctx: *mut __sk_buff, is_ours: u32) -> u32 {
    let side = if is_ours == 0 { Side::Destination } else { Side::Source };
    let (Some(packet), Some(place)) = (Packet::read(ctx, side), PACKET.get_ptr_mut(0)) else { return 0 };
    // SAFETY: it is this CPU's own, and packets on one CPU do not interrupt each other here.
    unsafe { *place = packet };
    1
}

/// The packet at hand.
#[inline(always)]
pub(crate) fn packet() -> Option<&'static mut Packet> {
    // SAFETY: as in `read_packet`.
    PACKET.get_ptr_mut(0).map(|packet| unsafe { &mut *packet })
}

/// Hands a connection's first packet, and the answer to a SYN cookie, to a listener. The rest finds its own way.
#[inline(always)]
fn segment(skb: *mut __sk_buff, service: u32) -> i32 {
    let Some(packet) = packet() else { return NEXT };
    // Where interfaces are stacked (a VLAN on a card, a card in a bridge), a packet comes by again, with the listener
    // that it was given to. From another namespace of this host it comes with the client's socket.
    let given_to = field!(skb, __bindgen_anon_2.sk);
    if !given_to.is_null() && field!(given_to, state) == BPF_TCP_LISTEN {
        return NEXT;
    }
    let first = is_first(packet);
    if packet.flags & (flags::RST | flags::FIN) != 0 || !first && packet.flags & flags::SYN != 0 {
        return NEXT;
    }
    let state = state_of(skb);
    // A listener of the service port itself is found too, and overridden, as `sk_lookup` does. What is left of a
    // connection that has ended (`TIME_WAIT`) must not be passed by: from Linux 6.10 on a listener takes nobody whose
    // addresses and ports are in the table of connections (`reqsk_queue_hash_req`). It answers, the client resets it,
    // and the client's next try is picked for.
    if state != 0 && state != BPF_TCP_LISTEN {
        return NEXT;
    }
    // Without a socket, an ACK answers a SYN cookie, if there was one lately. Else it may come in the moment in which
    // another CPU puts a connection in the place of its handshake (`inet_ehash_insert`), and a lookup finds neither: a
    // listener would reset the connection. The kernel's own lookup is later, and finds it.
    if !first && !pick::awaits_answers(service) {
        return NEXT;
    }
    if is_for_this_host(skb) == 0 {
        return NEXT;
    }
    let Some(table) = pick::table(service) else { return NEXT };
    if pick::pick(skb, service, table) || table.on_empty != ON_EMPTY_DROP {
        // What is to be refused goes on to `lookup`, which the kernel asks next.
        return NEXT;
    }
    TC_ACT_SHOT
}

#[inline(always)]
fn is_first(packet: &Packet) -> bool {
    packet.flags & (flags::SYN | flags::ACK) == flags::SYN
}

/// State of the socket that the kernel has for a segment; 0 for none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn state_of(ctx: *mut __sk_buff) -> u32 {
    let Some(packet) = packet() else { return 0 };
    let Tuple { family, remote, remote_port, local, local_port, .. } = packet.tuple;
    let (mut tuple, size) = kernel::sock_tuple(family, remote, remote_port, local, local_port);
    let socket = look_up_tcp(ctx, &mut tuple, size);
    if socket.is_null() {
        return 0;
    }
    let state = field!(socket, state);
    // SAFETY: releases the reference that the lookup took.
    unsafe { bpf_sk_release(socket.cast()) };
    state
}

/// Drops a datagram to a guarded port, unless it is from this host, or for another one.
#[inline(always)]
fn guard(skb: *mut __sk_buff) -> i32 {
    let Some(packet) = packet() else { return NEXT };
    if field!(skb, ifindex) == LOOPBACK || is_for_this_host(skb) == 0 {
        return NEXT;
    }
    // Where interfaces are stacked (a VLAN on a card, a card in a bridge), what was sent here comes by again.
    let replies = FlowKey { direction: FlowKey::REPLIES, ..packet.tuple.flow_key() };
    if FLOWS.get_ptr(replies).is_some() { NEXT } else { TC_ACT_SHOT }
}

/// Gives a datagram to the instance of its flow.
#[inline(always)]
fn datagram(skb: *mut __sk_buff, service: u32) -> i32 {
    if resume(skb, service) == 0 {
        if is_for_this_host(skb) == 0 {
            return NEXT;
        }
        let Some(table) = pick::table(service) else { return NEXT };
        if !pick::pick(skb, service, table) {
            return if table.on_empty == ON_EMPTY_DROP { TC_ACT_SHOT } else { NEXT };
        }
        if let Some(packet) = packet() {
            pick::count(service, packet.instance, |row| row.opened += 1);
        }
        note(skb, service);
    }
    forward(skb, service);
    NEXT
}

/// Goes on with a flow that is known, not silent for too long, and whose instance is still there. Puts the instance
/// into the packet. Returns 0 for a new flow.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn resume(ctx: *mut __sk_buff, service: u32) -> u32 {
    let Some(packet) = packet() else { return 0 };
    // One key for both directions: two take more stack than Linux 5.10 leaves.
    let mut key = packet.tuple.flow_key();
    let Some(flow) = FLOWS.get_ptr_mut(key) else { return 0 };
    // SAFETY: an entry that is evicted meanwhile is another flow's, whose time is then a little wrong.
    let flow = unsafe { &mut *flow };
    let now = pick::now();
    (key.local_port, key.direction) = (flow.port as u16, FlowKey::REPLIES);
    // SAFETY: as above.
    let answered = FLOWS.get_ptr_mut(key).map(|reply| unsafe { &mut *reply });
    let seen = answered.as_ref().map_or(0, |reply| reply.seen);
    // Another CPU may have seen a reply since this one looked at the clock.
    let idle = now.saturating_sub(if seen > flow.seen { seen } else { flow.seen });
    if flow.service != service || idle > Flow::IDLE {
        return 0;
    }
    if offer_packet(ctx, service, flow.instance, mode::SILENT) != outcome::TAKEN {
        return 0;
    }
    flow.seen = now;
    // The pair may have been evicted, or be another service's flow to the same instance from the same client.
    if answered.is_none_or(|reply| reply.port != u32::from(packet.tuple.local_port)) {
        note(ctx, service);
    }
    1
}

/// Notes the flow of the datagram at hand, both ways.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note(ctx: *mut __sk_buff, service: u32) -> u32 {
    let _used = field!(ctx, len);
    let Some(packet) = packet() else { return 0 };
    let mut key = packet.tuple.flow_key();
    let mut flow =
        Flow { seen: pick::now(), instance: packet.instance, service, port: packet.port, reserved: 0 };
    let _full = FLOWS.insert(key, flow, 0);
    flow.port = key.local_port.into();
    key.local_port = packet.port as u16;
    key.direction = FlowKey::REPLIES;
    let _full = FLOWS.insert(key, flow, 0);
    1
}

/// Sends a datagram to the instance that was put into the packet.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn forward(ctx: *mut __sk_buff, service: u32) -> u32 {
    let Some(packet) = packet() else { return 0 };
    if packet.write_local_port(ctx, Side::Destination, packet.port as u16) {
        let length = u64::from(packet.length);
        pick::count(service, packet.instance, |row| row.received_bytes += length);
    }
    0
}

impl Hook for __sk_buff {
    #[inline(always)]
    fn tuple(this: *mut Self) -> Option<Tuple> {
        // To the compiler a function that does not look at its context may as well be called without one.
        let _used = field!(this, len);
        PACKET.get(0).map(|packet| packet.tuple)
    }

    #[inline(always)]
    fn hash(this: *mut Self, service: u32, _: &Table) -> u64 {
        hash_packet(this, service)
    }

    #[inline(always)]
    fn is_first(_: *mut Self) -> bool {
        PACKET.get(0).is_some_and(|packet| packet.tuple.protocol == PROTOCOL_UDP || is_first(packet))
    }

    #[inline(always)]
    fn is_answer(this: *mut Self) -> bool {
        !Self::is_first(this)
    }

    #[inline(always)]
    fn offer(this: *mut Self, service: u32, instance: u32, mode: u32) -> u32 {
        offer_packet(this, service, instance, mode)
    }

    #[inline(always)]
    fn offer_rest(this: *mut Self, service: u32, hash: u64, first: u32, full: u32) -> u32 {
        offer_packet_rest(this, service, hash, first, full)
    }

    #[inline(always)]
    fn offer_turn(this: *mut Self, service: u32, first: u32) -> u64 {
        offer_packet_turn(this, service, first)
    }

    #[inline(always)]
    fn offer_all(this: *mut Self, service: u32, hash: u64) -> u64 {
        // A function of its own would take stack that there is not.
        pick::offer_all(this, service, hash)
    }

    #[inline(always)]
    fn offer_block(this: *mut Self, service: u32, hash: u64, from: u32) -> u64 {
        offer_packet_block(this, service, hash, from)
    }

    #[inline(always)]
    fn offer_other(this: *mut Self, service: u32, hash: u64, n: u32) -> u64 {
        offer_packet_other(this, service, hash, n)
    }

    #[inline(always)]
    fn preferred(this: *mut Self, service: u32, hash: u64) -> u64 {
        preferred_packet(this, service, hash)
    }

    #[inline(always)]
    fn burden(this: *mut Self, service: u32, member: u32) -> u64 {
        burden_packet(this, service, member)
    }

    #[inline(always)]
    fn failed(this: *mut Self, instance: u32, outcome: u32) {
        failed_packet(this, instance, outcome);
    }

    #[inline(always)]
    fn busy(this: *mut Self, instance: u32) -> u64 {
        busy_packet(this, instance)
    }
}

pick::walk!(__sk_buff: offer_packet_rest offer_packet_turn offer_packet_block offer_packet_other preferred_packet burden_packet failed_packet);

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hash_packet(ctx: *mut __sk_buff, service: u32) -> u64 {
    let _used = field!(ctx, len);
    let (Some(table), Some(packet)) = (pick::table(service), packet()) else { return 0 };
    pick::hash(table, &packet.tuple)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn offer_packet(ctx: *mut __sk_buff, service: u32, instance: u32, mode: u32) -> u32 {
    let Some(packet) = packet() else { return outcome::ABSENT };
    let outcome = if packet.tuple.protocol == PROTOCOL_TCP {
        offer_segment(ctx, packet, service, instance, mode)
    } else {
        offer_datagram(ctx, packet, instance)
    };
    if mode & mode::SILENT == 0 && __sk_buff::is_first(ctx) {
        pick::count_offer(ctx, service, instance, outcome);
    }
    outcome
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn remember_packet(
    ctx: *mut __sk_buff,
    service: u32,
    instance: u32,
    mode: u32,
    cookies: u32,
) -> u32 {
    pick::remember(ctx, service, instance, mode, cookies);
    0
}

#[inline(always)]
fn offer_segment(ctx: *mut __sk_buff, packet: &Packet, service: u32, instance: u32, mode: u32) -> u32 {
    let listener = listener(ctx, packet, instance);
    if listener.is_null() {
        return outcome::ABSENT;
    }
    let outcome = if field!(listener, bound_dev_if) != 0 {
        outcome::REFUSED
    } else if mode & mode::EVEN_FULL == 0 && !kernel::has_room(listener.cast()) {
        outcome::FULL
    // SAFETY: `ctx` is the program's context, `listener` was just looked up.
    } else if unsafe { bpf_sk_assign(ctx.cast(), listener.cast(), 0) } == 0 {
        if mode & mode::EVEN_FULL == 0 {
            remember_packet(ctx, service, instance, mode, kernel::answers(listener.cast()));
        }
        outcome::TAKEN
    } else {
        outcome::REFUSED
    };
    // SAFETY: releases the reference that the lookup took.
    unsafe { bpf_sk_release(listener.cast()) };
    outcome
}

/// Whether the instance has a socket for the datagram. Puts the instance into the packet, if so.
#[inline(always)]
pub(crate) fn offer_datagram(ctx: *mut __sk_buff, packet: &mut Packet, instance: u32) -> u32 {
    let Tuple { family, remote, remote_port, local, .. } = packet.tuple;
    let Some((address, port)) = place(packet, instance) else { return outcome::ABSENT };
    if address != local {
        return outcome::ABSENT;
    }
    let (mut tuple, size) = kernel::sock_tuple(family, remote, remote_port, local, port);
    // SAFETY: the helper reads `size` bytes of the tuple.
    let socket = unsafe { bpf_sk_lookup_udp(ctx.cast(), &raw mut tuple, size, OUR_NETNS, 0) };
    if socket.is_null() {
        return outcome::ABSENT;
    }
    // SAFETY: releases the reference that the lookup took.
    unsafe { bpf_sk_release(socket.cast()) };
    packet.instance = instance;
    packet.port = port.into();
    outcome::TAKEN
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn busy_packet(ctx: *mut __sk_buff, instance: u32) -> u64 {
    let Some(packet) = PACKET.get(0) else { return NOBODY };
    let listener = listener(ctx, packet, instance);
    if listener.is_null() {
        return NOBODY;
    }
    let busy = kernel::queues(listener.cast());
    // SAFETY: releases the reference that the lookup took.
    unsafe { bpf_sk_release(listener.cast()) };
    busy
}

/// The listener of an instance that would take a segment, to be released; null if there is none.
#[inline(always)]
pub(crate) fn listener(ctx: *mut __sk_buff, packet: &Packet, instance: u32) -> *mut bpf_sock {
    let Some((address, port)) = place(packet, instance) else { return null_mut() };
    let found = listener_at(ctx, packet, address, port);
    if !found.is_null() || address != packet.tuple.local {
        return found;
    }
    // It may be one that only this host reaches.
    let loopback = if packet.tuple.family == FAMILY_V4 {
        [u32::from_be(0x7f00_0001), 0, 0, 0]
    } else {
        [0, 0, 0, u32::from_be(1)]
    };
    listener_at(ctx, packet, loopback, port)
}

#[inline(always)]
fn listener_at(ctx: *mut __sk_buff, packet: &Packet, address: [u32; 4], port: u16) -> *mut bpf_sock {
    let Tuple { family, remote_port, .. } = packet.tuple;
    // As if this host asked itself, so that the guard of the port lets it pass. The client's port picks the member of
    // an SO_REUSEPORT group.
    let (mut tuple, size) = kernel::sock_tuple(family, address, remote_port, address, port);
    let socket = look_up_tcp(ctx, &mut tuple, size);
    if !socket.is_null() && field!(socket, state) != BPF_TCP_LISTEN {
        // SAFETY: releases the reference that the lookup took.
        unsafe { bpf_sk_release(socket.cast()) };
        return null_mut();
    }
    socket
}

/// Where an instance would be reached by the client of a packet: address and port, in host order.
#[inline(always)]
fn place(packet: &Packet, instance: u32) -> Option<([u32; 4], u16)> {
    // SAFETY: what is read is copied out at once.
    let row = unsafe { INSTANCES.get(instance) }?;
    if row.family == FAMILY_ANY {
        return Some((packet.tuple.local, row.port));
    }
    (row.family == packet.tuple.family).then(|| (kernel::words(row.address), row.port))
}

const OUR_NETNS: u64 = BPF_F_CURRENT_NETNS as i64 as u64;

#[inline(always)]
fn look_up_tcp(ctx: *mut __sk_buff, tuple: &mut bpf_sock_tuple, size: u32) -> *mut bpf_sock {
    // SAFETY: the helper reads `size` bytes of the tuple.
    unsafe { bpf_skc_lookup_tcp(ctx.cast(), tuple, size, OUR_NETNS, 0) }
}

/// Whether the packet at hand ends here: what this host forwards is none of our business.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_for_this_host(ctx: *mut __sk_buff) -> u32 {
    const FORWARDING_DISABLED: i64 = aya_ebpf::bindings::BPF_FIB_LKUP_RET_FWD_DISABLED as i64;
    const NOT_FORWARDED: i64 = aya_ebpf::bindings::BPF_FIB_LKUP_RET_NOT_FWDED as i64;
    let Some(packet) = packet() else { return 0 };
    let ifindex = field!(ctx, ifindex);
    if ifindex == LOOPBACK {
        return 1;
    }
    let tuple = &packet.tuple;
    // SAFETY: all zero is a lookup without a meaning yet.
    let mut lookup: FibLookup = unsafe { core::mem::zeroed() };
    lookup.l4_protocol = tuple.protocol;
    lookup.sport = tuple.remote_port.to_be();
    lookup.dport = tuple.local_port.to_be();
    lookup.ifindex = ifindex;
    if tuple.family == FAMILY_V4 {
        lookup.family = AF_INET as u8;
        lookup.__bindgen_anon_3.ipv4_src = tuple.remote[0];
        lookup.__bindgen_anon_4.ipv4_dst = tuple.local[0];
    } else {
        lookup.family = AF_INET6 as u8;
        lookup.__bindgen_anon_3.ipv6_src = tuple.remote;
        lookup.__bindgen_anon_4.ipv6_dst = tuple.local;
    }
    // SAFETY: the helper is told the size.
    let mut result = unsafe { bpf_fib_lookup(ctx.cast(), &raw mut lookup, size_of::<FibLookup>() as i32, 0) };
    if result == FORWARDING_DISABLED {
        // Not by this interface, which may be a port of a bond or a bridge that does: what would the host do?
        lookup.ifindex = LOOPBACK;
        // SAFETY: as above.
        result = unsafe { bpf_fib_lookup(ctx.cast(), &raw mut lookup, size_of::<FibLookup>() as i32, 0) };
    }
    u32::from(result == NOT_FORWARDED || result == FORWARDING_DISABLED)
}
