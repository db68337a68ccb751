//! The `sk_lookup` hook: picks a listener when the kernel looks for one.

use core::{ffi::c_void, ptr::null_mut};

use aya_ebpf::{
    bindings::{BPF_TCP_LISTEN, bpf_sk_lookup, bpf_sock, sk_action},
    helpers::{bpf_map_lookup_elem, bpf_sk_assign, bpf_sk_release},
    programs::SkLookupContext,
};
use wocut_common::{FAMILY_V4, FAMILY_V6, HOOK_SK_LOOKUP, ListenerKey, ON_EMPTY_REJECT, Service, Table};

use crate::{
    kernel::{self, AF_INET, Tuple, field, raw},
    maps::LISTENERS,
    pick::{self, Hook, NOBODY, mode, outcome},
};

/// Gives the connection to an instance of the service that listens here, if one does.
#[inline(always)]
pub(crate) fn lookup(ctx: &SkLookupContext) -> u32 {
    let lookup: *mut bpf_sk_lookup = raw(ctx);
    let Some(tuple) = Tuple::of_lookup(lookup) else { return sk_action::SK_PASS };
    let Some(service) = pick::service_of(&tuple) else { return sk_action::SK_PASS };
    if service.index == Service::GUARD {
        let here = tuple.is_from_here() || kernel::is_loopback(lookup);
        return if here { sk_action::SK_PASS } else { sk_action::SK_DROP };
    }
    let Some(table) = pick::table(service.index) else { return sk_action::SK_PASS };
    // What `ingress` has given to an instance is not looked up any more.
    let served = service.hook == HOOK_SK_LOOKUP && pick::pick(lookup, service.index, table);
    if served || table.on_empty != ON_EMPTY_REJECT { sk_action::SK_PASS } else { sk_action::SK_DROP }
}

impl Hook for bpf_sk_lookup {
    #[inline(always)]
    fn tuple(this: *mut Self) -> Option<Tuple> {
        Tuple::of_lookup(this)
    }

    #[inline(always)]
    fn hash(this: *mut Self, _: u32, table: &Table) -> u64 {
        Tuple::of_lookup(this).map_or(0, |tuple| pick::hash(table, &tuple))
    }

    #[inline(always)]
    fn is_first(_: *mut Self) -> bool {
        true
    }

    // A lookup does not tell what packet it is for.
    #[inline(always)]
    fn is_answer(_: *mut Self) -> bool {
        true
    }

    #[inline(always)]
    fn offer(this: *mut Self, service: u32, instance: u32, mode: u32) -> u32 {
        offer(this, service, instance, mode)
    }

    #[inline(always)]
    fn offer_rest(this: *mut Self, service: u32, hash: u64, first: u32, full: u32) -> u32 {
        offer_rest(this, service, hash, first, full)
    }

    #[inline(always)]
    fn offer_turn(this: *mut Self, service: u32, first: u32) -> u64 {
        offer_turn(this, service, first)
    }

    #[inline(always)]
    fn offer_all(this: *mut Self, service: u32, hash: u64) -> u64 {
        offer_all(this, service, hash)
    }

    #[inline(always)]
    fn offer_block(this: *mut Self, service: u32, hash: u64, from: u32) -> u64 {
        offer_block(this, service, hash, from)
    }

    #[inline(always)]
    fn offer_other(this: *mut Self, service: u32, hash: u64, n: u32) -> u64 {
        offer_other(this, service, hash, n)
    }

    #[inline(always)]
    fn preferred(this: *mut Self, service: u32, hash: u64) -> u64 {
        preferred(this, service, hash)
    }

    #[inline(always)]
    fn burden(this: *mut Self, service: u32, member: u32) -> u64 {
        burden(this, service, member)
    }

    #[inline(always)]
    fn failed(this: *mut Self, instance: u32, outcome: u32) {
        failed(this, instance, outcome);
    }

    #[inline(always)]
    fn busy(this: *mut Self, instance: u32) -> u64 {
        busy(this, instance)
    }
}

pick::walk!(bpf_sk_lookup: offer_rest offer_turn offer_block offer_other preferred burden failed);

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn offer_all(ctx: *mut bpf_sk_lookup, service: u32, hash: u64) -> u64 {
    pick::offer_all(ctx, service, hash)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn offer(ctx: *mut bpf_sk_lookup, service: u32, instance: u32, mode: u32) -> u32 {
    let mut outcome = outcome::ABSENT;
    let family = family(ctx);
    for place in 0..ListenerKey::PLACES {
        let listener = listener(&ListenerKey { instance, family, place });
        if listener.is_null() {
            continue;
        }
        outcome = if mode & mode::EVEN_FULL == 0 && !kernel::has_room(listener) {
            outcome::FULL
        // SAFETY: `ctx` is the program's context, `listener` was just looked up.
        } else if unsafe { bpf_sk_assign(ctx.cast(), listener, 0) } == 0 {
            remember(ctx, service, instance, mode);
            outcome::TAKEN
        } else {
            outcome::REFUSED
        };
        // SAFETY: releases the reference that the lookup took.
        unsafe { bpf_sk_release(listener) };
        if outcome == outcome::TAKEN {
            break;
        }
    }
    pick::count_offer(ctx, service, instance, outcome);
    outcome
}

/// Remembers what was offered, where it will be asked for again.
///
/// The listener is taken from the context. Through one that a map gave, the verifier (since Linux 6.4) would search the
/// kernel's types, by name, at every pointer that is followed on every path: 12 ms of an `attach`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn remember(ctx: *mut bpf_sk_lookup, service: u32, instance: u32, mode: u32) -> u32 {
    let assigned = field!(ctx, __bindgen_anon_1.__bindgen_anon_1.sk);
    if !assigned.is_null() && mode & mode::EVEN_FULL == 0 {
        pick::remember(ctx, service, instance, mode, kernel::answers(assigned.cast()));
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn busy(ctx: *mut bpf_sk_lookup, instance: u32) -> u64 {
    let family = family(ctx);
    for place in 0..ListenerKey::PLACES {
        let listener = listener(&ListenerKey { instance, family, place });
        if listener.is_null() {
            continue;
        }
        let busy = kernel::queues(listener);
        // SAFETY: releases the reference that the lookup took.
        unsafe { bpf_sk_release(listener) };
        return busy;
    }
    NOBODY
}

/// Of the client.
#[inline(always)]
fn family(ctx: *const bpf_sk_lookup) -> u16 {
    if field!(ctx, family) == AF_INET { FAMILY_V4.into() } else { FAMILY_V6.into() }
}

/// A listening socket, to be released; null if there is none.
#[inline(always)]
pub(crate) fn listener(key: &ListenerKey) -> *mut c_void {
    let map = core::ptr::from_ref(&LISTENERS).cast_mut().cast();
    // SAFETY: the helper reads one key.
    let socket = unsafe { bpf_map_lookup_elem(map, core::ptr::from_ref(key).cast()) };
    // One that was shut (`shutdown(2)`) is in the map still, and Linux before 5.16 lets it be assigned.
    if !socket.is_null() && field!(socket.cast::<bpf_sock>(), state) != BPF_TCP_LISTEN {
        // SAFETY: releases the reference that the lookup took.
        unsafe { bpf_sk_release(socket) };
        return null_mut();
    }
    socket
}
