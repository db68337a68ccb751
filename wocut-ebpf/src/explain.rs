//! Says whom a connection would go to, in order, by making the pick's own choices and taking nothing. A command runs
//! this program on a packet that is the question.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_OK},
    helpers::generated::{bpf_sk_release, bpf_skb_store_bytes},
    programs::TcContext,
};
use wocut_common::{
    Candidate, Explain, Flow, HOOK_SK_LOOKUP, ListenerKey, MAX_MEMBERS, POLICY_ROUND_ROBIN, PROTOCOL_TCP,
    PROTOCOL_UDP, Service, Table, pick,
};

use crate::{
    ingress::{NEXT, listener, offer_datagram, packet},
    kernel::{self, Tuple, field, raw, words},
    lookup,
    maps::{CURRENT, FLOWS, PACKET},
    packet::Packet,
    pick::{
        LATER_TURNS, choices, goes_by_state, hash, is_flooded, least, member_at, outcome, recall, service_of,
        table,
    },
};

/// Reads the question, and writes what each of the pick's choices comes to.
#[inline(always)]
pub(crate) fn answer(ctx: &TcContext) -> i32 {
    let skb: *mut __sk_buff = raw(ctx);
    let Some(service) = read(ctx) else { return NEXT };
    for n in 0..Explain::CANDIDATES as u32 {
        if candidate(skb, service.index, service.hook, n) == 0 {
            break;
        }
    }
    TC_ACT_OK
}

/// Puts the question into `packet`, as if it had come in, and says which service it is for.
#[inline(always)]
fn read(ctx: &TcContext) -> Option<Service> {
    let question: Explain = ctx.load(0).ok()?;
    let tuple = Tuple {
        family: question.family,
        remote: words(question.remote),
        remote_port: question.remote_port,
        local: words(question.local),
        local_port: question.local_port,
        protocol: question.protocol,
    };
    let place = PACKET.get_ptr_mut(0)?;
    // SAFETY: it is this CPU's own, and `ingress` does not come between.
    unsafe { *place = Packet { tuple, flags: 2, length: 0, transport: 0, port: 0, instance: 0 } };
    service_of(&tuple)
}

/// Writes down the `n`th choice. Returns 0 if there is none any more.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn candidate(ctx: *mut __sk_buff, service: u32, hook: u32, n: u32) -> u32 {
    let (Some(table), Some(packet)) = (table(service), packet()) else { return 0 };
    let hash = hash(table, &packet.tuple);
    let by_turn = table.policy == POLICY_ROUND_ROBIN && !is_flooded(service);
    let instance = match n {
        0..=LATER_TURNS if by_turn => turn(service, table, n),
        0 => first(ctx, service, table, hash),
        1..=4 => member_at(table, pick::slot(hash, (n as usize - 1) & 3)),
        _ => {
            let past = n - 5;
            if past > table.mask {
                return 0;
            }
            let member = (choices(table, hash)[0] + past) & table.mask;
            if member < table.len { table.members[member as usize % MAX_MEMBERS] } else { 0 }
        }
    };
    let outcome = if instance == 0 { outcome::ABSENT } else { try_out(ctx, hook, instance) };
    let candidate = Candidate { instance, outcome };
    let at = (size_of::<Explain>() as u32) + n * size_of::<Candidate>() as u32;
    // SAFETY: the helper checks the offset.
    unsafe { bpf_skb_store_bytes(ctx, at, (&raw const candidate).cast(), size_of::<Candidate>() as u32, 0) };
    1
}

/// What [`preferred`](crate::pick::preferred) would say, without taking a turn.
#[inline(always)]
fn first(ctx: *mut __sk_buff, service: u32, table: &Table, hash: u64) -> u32 {
    let Some(packet) = packet() else { return 0 };
    if packet.tuple.protocol == PROTOCOL_UDP {
        // SAFETY: what is read is copied out at once.
        let flow: Option<&Flow> = unsafe { FLOWS.get(packet.tuple.flow_key()) };
        if let Some(flow) = flow.filter(|flow| crate::pick::now() - flow.seen <= Flow::IDLE) {
            return flow.instance;
        }
    }
    if let Some(instance) = recall(Some(packet.tuple), crate::pick::now()) {
        return instance;
    }
    if !goes_by_state(table) || is_flooded(service) {
        return 0;
    }
    least(ctx, service, table, hash)
}

/// Whose turn it is, `later` turns from now.
#[inline(always)]
fn turn(service: u32, table: &Table, later: u32) -> u32 {
    let taken = CURRENT.get(service).map_or(0, |current| current.taken);
    let turns = if table.turns == 0 { 1 } else { table.turns };
    member_at(table, ((taken + 1 + u64::from(later)) % u64::from(turns)) as u16)
}

/// Whether an instance would take the connection.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn try_out(ctx: *mut __sk_buff, hook: u32, instance: u32) -> u32 {
    let Some(packet) = packet() else { return outcome::ABSENT };
    if packet.tuple.protocol != PROTOCOL_TCP {
        return offer_datagram(ctx, packet, instance);
    }
    if hook != HOOK_SK_LOOKUP {
        let listener = listener(ctx, packet, instance);
        return if listener.is_null() { outcome::ABSENT } else { judge(listener.cast()) };
    }
    let _used = field!(ctx, len);
    for place in 0..ListenerKey::PLACES {
        let listener = lookup::listener(&ListenerKey { instance, family: packet.tuple.family.into(), place });
        if !listener.is_null() {
            return judge(listener);
        }
    }
    outcome::ABSENT
}

/// Whether a listener has room. Releases it.
#[inline(always)]
fn judge(listener: *mut core::ffi::c_void) -> u32 {
    let has_room = kernel::has_room(listener);
    // SAFETY: releases the reference that the lookup took.
    unsafe { bpf_sk_release(listener) };
    if has_room { outcome::TAKEN } else { outcome::FULL }
}
