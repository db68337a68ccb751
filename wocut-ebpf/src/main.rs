//! The kernel half of wocut: entry points only. One file a hook; `maps` has the maps, `kernel` every raw read, `pick`
//! what the hooks share, `event` tells a process, `packet` and `icmp` what is read and written of packets.

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
mod egress;
mod event;
mod explain;
mod icmp;
mod ingress;
mod kernel;
mod lookup;
mod maps;
mod packet;
mod pick;
mod register;
mod scan;
mod trace;

use aya_ebpf::{
    macros::{classifier, sk_lookup, sock_ops},
    programs::{SkLookupContext, SockOpsContext, TcContext},
};

/// Runs when the namespace looks up a listener for a TCP packet, and gives it to an instance.
#[sk_lookup]
fn lookup(ctx: SkLookupContext) -> u32 {
    lookup::lookup(&ctx)
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

/// Runs when a command asks, on a packet that is the question: whom a connection would go to.
#[classifier]
fn explain(ctx: TcContext) -> i32 {
    explain::answer(&ctx)
}

/// Runs for every TCP socket when a command asks, where `register` is refused.
#[unsafe(link_section = "iter/tcp")]
#[unsafe(no_mangle)]
extern "C" fn scan(ctx: *mut scan::Context) -> i32 {
    scan::scan(ctx);
    0
}

/// Runs for every packet that comes in by an interface: gives datagrams, and connections that `lookup` cannot give, to
/// instances. Attached only while a service needs it.
#[classifier]
fn wocut_ingress(ctx: TcContext) -> i32 {
    ingress::ingress(&ctx)
}

/// Runs for every packet that goes out by an interface, beside `ingress`: replies to datagrams come from the service.
#[classifier]
fn wocut_egress(ctx: TcContext) -> i32 {
    egress::egress(&ctx)
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
