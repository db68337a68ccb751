//! Says what `lookup` picked, and why. It is attached only while somebody watches, and by nothing but the watcher's
//! own file descriptor, so that a watcher that dies leaves nothing behind.

use aya_ebpf::{
    bindings::{bpf_sk_lookup, bpf_sock, sk_action},
    helpers::bpf_sk_release,
    programs::SkLookupContext,
};
use aya_log_ebpf::info;
use wocut_common::{FAMILY_V4, HOOK_SK_LOOKUP, ListenerKey, MAX_MEMBERS, Service, Table};

use crate::{
    kernel::{self, Tuple, bytes, field, raw},
    lookup::listener,
    pick::{choices, goes_by_state, hash, outcome, service_of, table},
};

/// Logs one line of numbers a pick: service index, client address, client port, port of the chosen listener or 0,
/// id of the first choice, and what became of it.
#[inline(always)]
pub(crate) fn watch(ctx: &SkLookupContext) -> u32 {
    let lookup: *mut bpf_sk_lookup = raw(ctx);
    let Some(tuple) = Tuple::of_lookup(lookup) else { return sk_action::SK_PASS };
    let Some(Service { index: service, hook: HOOK_SK_LOOKUP, .. }) = service_of(&tuple) else {
        return sk_action::SK_PASS;
    };
    let Some(table) = table(service) else { return sk_action::SK_PASS };
    let chosen = field!(lookup, __bindgen_anon_1.__bindgen_anon_1.sk);
    let chosen = if chosen.is_null() { 0 } else { field!(chosen, src_port) };
    let (first, became) = first_choice(&tuple, table, chosen);
    let port = tuple.remote_port;
    if tuple.family == FAMILY_V4 {
        info!(
            ctx,
            "{} {:i} {} {} {} {}",
            service,
            u32::from_be(tuple.remote[0]),
            port,
            chosen,
            first,
            became
        );
    } else {
        info!(ctx, "{} {:i} {} {} {} {}", service, bytes(tuple.remote), port, chosen, first, became);
    }
    sk_action::SK_PASS
}

/// The instance that the hash chose first, and its [`outcome`]. Instance 0: the policy goes by state, and what was first is
/// not known any more.
#[inline(always)]
fn first_choice(tuple: &Tuple, table: &Table, chosen: u32) -> (u32, u32) {
    if goes_by_state(table) {
        return (0, if chosen == 0 { outcome::ABSENT } else { outcome::TAKEN });
    }
    let member = choices(table, hash(table, tuple))[0];
    if member >= table.len {
        return (0, outcome::ABSENT);
    }
    let instance = table.members[member as usize % MAX_MEMBERS];
    let mut became = outcome::ABSENT;
    for place in 0..ListenerKey::PLACES {
        let listener = listener(&ListenerKey { instance, family: tuple.family.into(), place });
        if listener.is_null() {
            continue;
        }
        let socket: *mut bpf_sock = listener.cast();
        became = if field!(socket, src_port) == chosen {
            outcome::TAKEN
        } else if !kernel::has_room(listener) {
            outcome::FULL
        } else {
            outcome::REFUSED
        };
        // SAFETY: releases the reference that the lookup took.
        unsafe { bpf_sk_release(listener) };
        if became == outcome::TAKEN {
            break;
        }
    }
    (instance, became)
}
