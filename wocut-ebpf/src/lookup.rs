//! The pick: which instance gets a new connection.
//!
//! It depends on nothing but the 4-tuple and what can serve now, because under SYN cookies the last packet of the
//! handshake is looked up again and must find the listener that answered the first.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{bpf_sk_lookup, sk_action},
    helpers::{bpf_map_lookup_elem, bpf_sk_assign, bpf_sk_release},
    programs::SkLookupContext,
};
use wocut_common::{
    CounterKey, Counters, FAMILY_V4, ListenerKey, MAX_MEMBERS, ON_EMPTY_REJECT, Service, ServiceKey, Table,
    pick,
};

use crate::{
    kernel::{self, Tuple, raw},
    maps::{COUNTERS, LISTENERS, SERVICES, SETTINGS, SLOTS},
};

/// What became of offering the connection to one instance.
pub(crate) mod outcome {
    /// It has it.
    pub(crate) const TAKEN: u32 = 0;
    /// It has no listener for this family.
    pub(crate) const ABSENT: u32 = 1;
    /// Its accept queue is full.
    pub(crate) const FULL: u32 = 2;
    /// The kernel would not assign its listener.
    pub(crate) const REFUSED: u32 = 3;
}

/// Gives the connection to an instance of the service that listens here, if one does.
#[inline(always)]
pub(crate) fn pick(ctx: &SkLookupContext) -> u32 {
    let lookup: *mut bpf_sk_lookup = raw(ctx);
    let Some(tuple) = Tuple::of_lookup(lookup) else { return sk_action::SK_PASS };
    let Some((service, table)) = find(&tuple) else { return sk_action::SK_PASS };
    count(service, 0, |row| row.picked += 1);

    let hash = hash(&tuple);
    let family = u32::from(tuple.family);
    let choices = choices(table, hash);
    let mut last_resort = 0;
    for n in 0..choices.len() {
        let member = choices[n];
        if member >= table.len || choices[..n].contains(&member) {
            continue;
        }
        let instance = table.members[member as usize % MAX_MEMBERS];
        match offer(lookup, service, instance, family, 0) {
            outcome::TAKEN => return sk_action::SK_PASS,
            outcome::FULL if last_resort == 0 => last_resort = instance,
            _ => {}
        }
    }

    for block in 0..MAX_MEMBERS as u32 / BLOCK {
        match offer_block(lookup, service, family, hash, block * BLOCK) {
            BLOCK_TAKEN => return sk_action::SK_PASS,
            NO_BLOCK => break,
            full if last_resort == 0 => last_resort = full as u32,
            _ => {}
        }
    }

    if last_resort != 0 && offer(lookup, service, last_resort, family, 1) == outcome::TAKEN {
        return sk_action::SK_PASS;
    }
    count(service, 0, |row| row.unserved += 1);
    if table.on_empty == ON_EMPTY_REJECT { sk_action::SK_DROP } else { sk_action::SK_PASS }
}

/// Members that one call of [`offer_block`] walks over.
const BLOCK: u32 = 16;
/// Answer of [`offer_block`]: the connection is taken. Not an instance id.
const BLOCK_TAKEN: u64 = 1 << 32;
/// Answer of [`offer_block`]: the table ends before this block.
const NO_BLOCK: u64 = 1 << 33;

/// Offers the connection to the members `from` places and more after the hash's first choice.
///
/// Returns [`BLOCK_TAKEN`], [`NO_BLOCK`], the first instance whose accept queue is full, or 0. Whoever walks on goes
/// by these answers: the table may have been swapped for a longer one since the first choice.
///
/// This function and the next two are functions of their own for the verifier: it checks each once, and not once
/// in every turn of the loop that calls it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn offer_block(ctx: *mut bpf_sk_lookup, service: u32, family: u32, hash: u64, from: u32) -> u64 {
    let mut full = 0;
    for n in 0..BLOCK {
        match offer_other(ctx, service, family, hash, from + n) {
            BLOCK_TAKEN => return BLOCK_TAKEN,
            NO_BLOCK => return if n == 0 { NO_BLOCK } else { full },
            instance if full == 0 => full = instance,
            _ => {}
        }
    }
    full
}

/// Offers the connection to the member `n` places after the hash's first choice, unless it is one of the choices,
/// which had it before. Answers as [`offer_block`] does.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn offer_other(ctx: *mut bpf_sk_lookup, service: u32, family: u32, hash: u64, n: u32) -> u64 {
    let Some(table) = SLOTS.get_value(service, &0) else { return 0 };
    let choices = choices(table, hash);
    let member = (choices[0] + n) & table.mask;
    if n > table.mask {
        return NO_BLOCK;
    }
    if member >= table.len || choices.contains(&member) {
        return 0;
    }
    let instance = table.members[member as usize % MAX_MEMBERS];
    match offer(ctx, service, instance, family, 0) {
        outcome::TAKEN => BLOCK_TAKEN,
        outcome::FULL => u64::from(instance),
        _ => 0,
    }
}

/// The index and slot table of the service that listens at the tuple's local end: by address, then on any.
#[inline(always)]
pub(crate) fn find(tuple: &Tuple) -> Option<(u32, &'static Table)> {
    let mut key = tuple.service_key();
    let index = service_at(&key).or_else(|| {
        key.address = [0; 16];
        service_at(&key)
    })?;
    let table = SLOTS.get_value(index, &0)?;
    Some((index, table))
}

/// The index of the service listed under `key`.
#[inline(always)]
pub(crate) fn service_at(key: &ServiceKey) -> Option<u32> {
    // SAFETY: the index is copied out at once.
    let service: Option<&Service> = unsafe { SERVICES.get(key) };
    service.map(|service| service.index)
}

/// The keyed hash of a 4-tuple.
#[inline(always)]
pub(crate) fn hash(tuple: &Tuple) -> u64 {
    let key = SETTINGS.get(0).map_or([0; 2], |settings| settings.hash_key);
    let ports = u64::from(tuple.remote_port) << 16 | u64::from(tuple.local_port);
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let (remote, local) = (tuple.remote, tuple.local);
    if tuple.family == FAMILY_V4 {
        return pick::hash(key, &[pair(remote[0], local[0]), ports]);
    }
    pick::hash(
        key,
        &[
            pair(remote[0], remote[1]),
            pair(remote[2], remote[3]),
            pair(local[0], local[1]),
            pair(local[2], local[3]),
            ports,
        ],
    )
}

/// The members that a hash chooses, in order.
#[inline(always)]
pub(crate) fn choices(table: &Table, hash: u64) -> [u32; pick::CHOICES] {
    core::array::from_fn(|n| u32::from(table.slots[pick::slot(hash, n) as usize]))
}

/// Offers the connection to one instance, and counts what became of it: an [`outcome`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn offer(
    ctx: *mut bpf_sk_lookup,
    service: u32,
    instance: u32,
    family: u32,
    even_full: u32,
) -> u32 {
    let mut outcome = outcome::ABSENT;
    for place in 0..ListenerKey::PLACES {
        let listener = listener(&ListenerKey { instance, family: family as u16, place });
        if listener.is_null() {
            continue;
        }
        outcome = if even_full == 0 && kernel::accept_queue_is_full(listener) {
            outcome::FULL
        // SAFETY: `ctx` is the program's context, `listener` was just looked up.
        } else if unsafe { bpf_sk_assign(ctx.cast(), listener, 0) } == 0 {
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
    count(service, instance, |row| {
        if outcome == outcome::TAKEN {
            row.picked += 1;
        } else {
            row.failovers += 1;
        }
    });
    outcome
}

/// A listening socket, to be released; null if there is none.
#[inline(always)]
pub(crate) fn listener(key: &ListenerKey) -> *mut c_void {
    let map = core::ptr::from_ref(&LISTENERS).cast_mut().cast();
    // SAFETY: the helper reads one key.
    unsafe { bpf_map_lookup_elem(map, core::ptr::from_ref(key).cast()) }
}

/// Counts in the row of an instance, or of the service itself for instance 0.
#[inline(always)]
pub(crate) fn count(service: u32, instance: u32, change: impl FnOnce(&mut Counters)) {
    if let Some(row) = COUNTERS.get_ptr_mut(CounterKey { service, instance }) {
        // SAFETY: each CPU has its own copy, and lookups on one CPU, in its softirq, do not interrupt each other.
        change(unsafe { &mut *row });
    }
}
