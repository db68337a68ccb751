//! Puts listeners that were there before into the map. A command runs this program on a packet that is the question.

use core::ops::Range;

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, BPF_NOEXIST, BPF_TCP_LISTEN, TC_ACT_OK, bpf_sock},
    helpers::{bpf_map_update_elem, bpf_sk_lookup_tcp, bpf_sk_release},
    programs::TcContext,
};
use wocut_common::{FAMILY_V4, FAMILY_V6, ListenerKey, Owner, Register};

use crate::{
    kernel::{self, AF_INET6, field, raw},
    maps::LISTENERS,
};

const EEXIST: i32 = 17;

/// Reads the question, registers the listener, writes the answer back.
#[inline(always)]
pub(crate) fn answer(ctx: &TcContext) -> i32 {
    let Ok(mut question) = ctx.load::<Register>(0) else { return TC_ACT_OK };
    question.found = 0;
    question.error = 0;
    let socket = look_up(ctx, &question);
    if !socket.is_null() {
        if field!(socket, state) == BPF_TCP_LISTEN {
            let owner = Owner { instances: question.instances, service: Owner::UNCOUNTED };
            question.found = if kernel::owner(socket).is_some_and(|noted| *noted == owner) { 2 } else { 1 };
            if question.found == 1 {
                question.error = register_all(socket, &question);
                kernel::set_owner(socket, owner);
            }
        }
        // SAFETY: releases the reference that the lookup took.
        unsafe { bpf_sk_release(socket.cast()) };
    }
    let _answered = ctx.store(0, &question, 0);
    TC_ACT_OK
}

#[inline(always)]
fn look_up(ctx: &TcContext, question: &Register) -> *mut bpf_sock {
    let address = kernel::words(question.address);
    let (family, source_port) = (question.family as u8, question.source_port as u16);
    let (mut tuple, size) = kernel::sock_tuple(family, [0; 4], source_port, address, question.port);
    // SAFETY: the helper reads `size` bytes of the tuple. The namespace is the one that the command runs in.
    unsafe {
        bpf_sk_lookup_tcp(
            raw(ctx),
            core::ptr::from_mut(&mut tuple),
            size,
            i64::from(BPF_F_CURRENT_NETNS) as u64,
            0,
        )
    }
}

/// Puts a listener under every instance that it serves. Returns the first error.
#[inline(always)]
fn register_all(socket: *mut bpf_sock, question: &Register) -> i32 {
    let mut error = 0;
    let family = if field!(socket, family) == AF_INET6 { FAMILY_V6 } else { FAMILY_V4 };
    for instance in question.instances {
        if instance == 0 {
            break;
        }
        let result = register(instance, family, |key, flags| put(socket, key, flags));
        if error == 0 {
            error = result;
        }
    }
    error
}

/// Puts a listener of `family` under an instance: in the first free place, and if it may be dual-stack, in one of those
/// for that. All places taken is no error, as those before serve.
#[inline(always)]
pub(crate) fn register(instance: u32, family: u8, put: impl Fn(ListenerKey, u64) -> i64) -> i32 {
    let first_free = |family: u8, places: Range<u16>| {
        let mut result = -EEXIST;
        for place in places {
            if result != -EEXIST {
                break;
            }
            // Before Linux 6.4 the helper returns an `int`, and the upper half of the register is not its sign.
            result =
                put(ListenerKey { instance, family: family.into(), place }, u64::from(BPF_NOEXIST)) as i32;
        }
        if result == -EEXIST { 0 } else { result }
    };
    if family == FAMILY_V6 {
        first_free(FAMILY_V4, ListenerKey::OWN..ListenerKey::PLACES);
    }
    first_free(family, 0..ListenerKey::OWN)
}

#[inline(always)]
fn put(socket: *mut bpf_sock, key: ListenerKey, flags: u64) -> i64 {
    let map = core::ptr::from_ref(&LISTENERS).cast_mut().cast();
    // SAFETY: the helper reads one key and takes the socket itself.
    unsafe { bpf_map_update_elem(map, core::ptr::from_ref(&key).cast(), socket.cast(), flags) }
}
