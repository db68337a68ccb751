//! The kernel half of wocut: entry points only. One file a hook; `maps` has the maps, `kernel` every raw read.

#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "this target has atomic addition, but no atomic types")]
#![expect(clippy::inline_always, reason = "what is no function of its own for the verifier is inlined")]
#![expect(clippy::needless_pass_by_value, reason = "so the entry points' macros want it")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "helpers and contexts have wider types than their values; a check would be code in the kernel"
)]

mod account;
mod kernel;
mod lookup;
mod maps;
mod register;
mod trace;

use aya_ebpf::{
    macros::{classifier, sk_lookup, sock_ops},
    programs::{SkLookupContext, SockOpsContext, TcContext},
};

/// Runs when the namespace looks up a listener for a TCP packet, and gives it to an instance.
#[sk_lookup]
fn lookup(ctx: SkLookupContext) -> u32 {
    lookup::pick(&ctx)
}

/// Runs for the sockets of a cgroup: registers new listeners and counts the connections of instances.
#[sock_ops]
fn account(ctx: SockOpsContext) -> u32 {
    account::event(&ctx)
}

/// Runs when a command asks, on a packet that is the question: registers a listener that was there before.
#[classifier]
fn register(ctx: TcContext) -> i32 {
    register::answer(&ctx)
}

/// Runs after `lookup`, while somebody watches: says what `lookup` picked, and why.
#[sk_lookup]
fn trace(ctx: SkLookupContext) -> u32 {
    trace::watch(&ctx)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
