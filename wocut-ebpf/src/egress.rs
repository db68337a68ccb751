//! The `tc` hook for what goes out: a reply to a datagram that came through a service leaves from the service's port.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use wocut_common::{FlowKey, PROTOCOL_UDP};

use crate::{
    ingress::NEXT,
    kernel::raw,
    maps::FLOWS,
    packet::{Packet, Side},
    pick,
};

/// A packet is about to go out.
#[inline(always)]
pub(crate) fn egress(ctx: &TcContext) -> i32 {
    let skb: *mut __sk_buff = raw(ctx);
    let Some(packet) = Packet::read(skb, Side::Source) else { return NEXT };
    if packet.tuple.protocol != PROTOCOL_UDP {
        return NEXT;
    }
    let replies = FlowKey { direction: FlowKey::REPLIES, ..packet.tuple.flow_key() };
    let Some(flow) = FLOWS.get_ptr_mut(replies) else { return NEXT };
    // SAFETY: an entry that is evicted meanwhile is another flow's, whose time is then a little wrong.
    let flow = unsafe { &mut *flow };
    flow.seen = pick::now();
    let (service, instance, port) = (flow.service, flow.instance, flow.port as u16);
    if packet.write_local_port(skb, Side::Source, port) {
        pick::count(service, instance, |row| row.sent_bytes += u64::from(packet.length));
    }
    NEXT
}
