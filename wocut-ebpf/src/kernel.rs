//! Every raw read: of program contexts, of sockets, of kernel memory.
//!
//! Contexts are read field by field with volatile loads. The verifier allows only whole fields, and the compiler
//! would otherwise merge neighbours into one load.

use core::{
    ffi::c_void,
    intrinsics::AtomicOrdering,
    mem::MaybeUninit,
    ptr::{addr_of_mut, null_mut},
};

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_SK_STORAGE_GET_F_CREATE, bpf_sk_lookup, bpf_sock, bpf_sock_ops, bpf_sock_tuple,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as TupleV4,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as TupleV6,
    },
    helpers::{bpf_sk_storage_get, bpf_skc_to_tcp_sock, generated::bpf_probe_read_kernel},
};
use wocut_common::{FAMILY_V4, FAMILY_V6, FlowKey, Owner, PROTOCOL_TCP, ServiceKey};

use crate::{
    maps::{HAS_INTERFACE, NETNS_INODE, OWNERS},
    pick::NOBODY,
};

/// The loopback interface: the first in every namespace.
pub(crate) const LOOPBACK: u32 = 1;
/// The address family of IPv4, as the kernel names it.
pub(crate) const AF_INET: u32 = 2;
/// That of IPv6.
pub(crate) const AF_INET6: u32 = 10;
const IPPROTO_TCP: u32 = 6;
/// `SOCK_DONE` of the kernel's `enum sock_flags`: the peer has sent its FIN.
const SOCK_DONE: u64 = 1 << 1;

/// Reads one field of a context.
macro_rules! field {
    ($ctx:expr, $($field:tt)+) => {{
        // SAFETY: the kernel hands a valid context to the program, and the verifier checks the field.
        unsafe { (&raw const (*$ctx).$($field)+).read_volatile() }
    }};
}
pub(crate) use field;

/// One of [`Offsets`](wocut_common::Offsets), as the loader has written it.
macro_rules! offset {
    ($name:ident) => {{
        // SAFETY: it is a static. The compiler must not take the value that it was built with.
        unsafe { (&raw const $crate::maps::OFFSETS.$name).read_volatile() }
    }};
}
pub(crate) use offset;

/// Both ends of a connection or a flow.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Tuple {
    /// Wocut's name of the address family.
    pub(crate) family: u8,
    /// In network order; IPv4 takes the first word.
    pub(crate) remote: [u32; 4],
    /// In host order.
    pub(crate) remote_port: u16,
    /// In network order; IPv4 takes the first word.
    pub(crate) local: [u32; 4],
    /// In host order.
    pub(crate) local_port: u16,
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub(crate) protocol: u8,
}

impl Tuple {
    /// What the lookup is for, if that is TCP.
    #[inline(always)]
    pub(crate) fn of_lookup(ctx: *const bpf_sk_lookup) -> Option<Self> {
        if field!(ctx, protocol) != IPPROTO_TCP {
            return None;
        }
        let remote_port = u16::from_be(field!(ctx, remote_port));
        let protocol = PROTOCOL_TCP;
        let local_port = field!(ctx, local_port) as u16;
        Some(if field!(ctx, family) == AF_INET {
            let remote = [field!(ctx, remote_ip4), 0, 0, 0];
            let local = [field!(ctx, local_ip4), 0, 0, 0];
            Self { family: FAMILY_V4, remote, remote_port, local, local_port, protocol }
        } else {
            let remote = [
                field!(ctx, remote_ip6[0]),
                field!(ctx, remote_ip6[1]),
                field!(ctx, remote_ip6[2]),
                field!(ctx, remote_ip6[3]),
            ];
            let local = [
                field!(ctx, local_ip6[0]),
                field!(ctx, local_ip6[1]),
                field!(ctx, local_ip6[2]),
                field!(ctx, local_ip6[3]),
            ];
            Self { family: FAMILY_V6, remote, remote_port, local, local_port, protocol }
        })
    }

    /// Where its service would be listed by address.
    #[inline(always)]
    pub(crate) fn service_key(&self) -> ServiceKey {
        ServiceKey {
            address: bytes(self.local),
            port: self.local_port,
            family: self.family,
            protocol: self.protocol,
        }
    }

    /// It as a key.
    #[inline(always)]
    pub(crate) fn flow_key(&self) -> FlowKey {
        FlowKey {
            remote: bytes(self.remote),
            local: bytes(self.local),
            remote_port: self.remote_port,
            local_port: self.local_port,
            family: self.family,
            protocol: self.protocol,
            direction: FlowKey::REQUESTS,
        }
    }

    /// Whether the client's address is one that only this host has, or nobody.
    #[inline(always)]
    pub(crate) fn is_from_here(&self) -> bool {
        let [first, second, third, last] = self.remote;
        let is_loopback = if self.family == FAMILY_V4 {
            first & u32::from_be(0xff00_0000) == u32::from_be(0x7f00_0000) || first == 0
        } else {
            first | second | third == 0 && last & u32::from_be(0xffff_fffe) == 0
        };
        is_loopback || self.remote == self.local
    }
}

/// The local end of a socket: family, address in network order, port.
#[inline(always)]
pub(crate) fn local_end(ctx: *const bpf_sock_ops) -> (u8, [u32; 4], u16) {
    let port = field!(ctx, local_port) as u16;
    if field!(ctx, family) == AF_INET {
        return (FAMILY_V4, [field!(ctx, local_ip4), 0, 0, 0], port);
    }
    let address = [
        field!(ctx, local_ip6[0]),
        field!(ctx, local_ip6[1]),
        field!(ctx, local_ip6[2]),
        field!(ctx, local_ip6[3]),
    ];
    // An IPv4 client of a dual-stack listener has its address mapped into IPv6 (::ffff:a.b.c.d).
    if address[0] == 0 && address[1] == 0 && address[2] == u32::from_be(0xffff) {
        return (FAMILY_V4, [address[3], 0, 0, 0], port);
    }
    (FAMILY_V6, address, port)
}

/// The same address as bytes.
#[inline(always)]
pub(crate) fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: both are 16 plain bytes.
    unsafe { core::mem::transmute(words) }
}

/// The same address as words.
#[inline(always)]
pub(crate) fn words(bytes: [u8; 16]) -> [u32; 4] {
    // SAFETY: both are 16 plain bytes.
    unsafe { core::mem::transmute(bytes) }
}

/// What helpers look sockets up by, and its size: the remote end, then the local one; ports in host order.
#[inline(always)]
pub(crate) fn sock_tuple(
    family: u8,
    saddr: [u32; 4],
    sport: u16,
    daddr: [u32; 4],
    dport: u16,
) -> (bpf_sock_tuple, u32) {
    // SAFETY: all zero is an address without a meaning yet, of either family.
    let mut tuple: bpf_sock_tuple = unsafe { MaybeUninit::zeroed().assume_init() };
    let (sport, dport) = (sport.to_be(), dport.to_be());
    let size = if family == FAMILY_V4 {
        tuple.__bindgen_anon_1.ipv4 = TupleV4 { saddr: saddr[0], daddr: daddr[0], sport, dport };
        size_of::<TupleV4>()
    } else {
        tuple.__bindgen_anon_1.ipv6 = TupleV6 { saddr, daddr, sport, dport };
        size_of::<TupleV6>()
    };
    (tuple, size as u32)
}

/// The socket of a listener or a connection, with the fields that only the kernel knows: [`member`] reads them.
///
/// `None` where it is another kind of socket, or this kernel does not tell where its fields are.
#[inline(always)]
fn tcp_sock(socket: *mut c_void) -> Option<*const u8> {
    if offset!(ack_backlog) == 0 {
        return None;
    }
    // SAFETY: callers have a socket that a lookup returned, or their context's own.
    let sock: *const u8 = unsafe { bpf_skc_to_tcp_sock(socket) }.cast();
    if sock.is_null() { None } else { Some(sock) }
}

/// A field of a kernel structure that the verifier knows the type of. The kernel reads it without a call, where
/// `bpf_probe_read_kernel` would take ten times as long; an address that is none reads as 0.
#[inline(always)]
fn member<T>(base: *const u8, offset: u32) -> T {
    // SAFETY: the verifier checks that there is such a field.
    unsafe { base.wrapping_add(offset as usize).cast::<T>().read_volatile() }
}

/// Whether the accept queue of a listener has room, as `sk_acceptq_is_full` of the kernel sees it.
///
/// A SYN for a full one is dropped without a word, and the client waits a second to try again.
#[inline(always)]
pub(crate) fn has_room(listener: *mut c_void) -> bool {
    let Some(sock) = tcp_sock(listener) else { return true };
    let queued: u32 = member(sock, offset!(ack_backlog));
    queued <= member(sock, offset!(max_ack_backlog))
}

/// How a listener answers a SYN, as `tcp_syn_flood_action` of the kernel sees it: one of [`cookies`].
#[inline(always)]
pub(crate) fn answers(listener: *mut c_void) -> u32 {
    let Some(sock) = tcp_sock(listener) else { return cookies::NO };
    let requests: u32 = member(sock, offset!(syn_queue));
    let setting: u8 = member(net(sock), offset!(syn_cookies));
    match (requests >= member(sock, offset!(max_ack_backlog)), setting) {
        (true, _) => cookies::NO_ROOM,
        (_, 2) => cookies::ALWAYS,
        _ => cookies::NO,
    }
}

/// Whether [`answers`] can tell.
#[inline(always)]
pub(crate) fn tells_of_cookies() -> bool {
    offset!(ack_backlog) != 0
}

/// What [`Hook::busy`](crate::pick::Hook::busy) says of a listener.
#[inline(always)]
pub(crate) fn queues(listener: *mut c_void) -> u64 {
    let Some(sock) = tcp_sock(listener) else { return 0 };
    let queued: u32 = member(sock, offset!(ack_backlog));
    let most: u32 = member(sock, offset!(max_ack_backlog));
    if queued > most {
        return NOBODY;
    }
    let requests: u32 = member(sock, offset!(syn_queue));
    u64::from(queued) << 32 | u64::from(requests)
}

/// Whether a listener answers a SYN with a cookie, and forgets it.
pub(crate) mod cookies {
    /// It does not, or this kernel does not tell.
    pub(crate) const NO: u32 = 0;
    /// Its SYN queue is full.
    pub(crate) const NO_ROOM: u32 = 1;
    /// It always does (`net.ipv4.tcp_syncookies = 2`).
    pub(crate) const ALWAYS: u32 = 2;
}

/// The network namespace of a socket.
#[inline(always)]
fn net(sock: *const u8) -> *const u8 {
    member(sock, offset!(net))
}

/// Whether a socket is in the network namespace that is served.
#[inline(always)]
pub(crate) fn is_ours(socket: *mut bpf_sock) -> bool {
    let inode = NETNS_INODE.load();
    let Some(sock) = tcp_sock(socket.cast()).filter(|_| inode != 0) else { return false };
    member::<u32>(net(sock), offset!(net_inode)) == inode
}

/// Whether what is looked up came in by the loopback interface, where the kernel tells.
#[inline(always)]
pub(crate) fn is_loopback(ctx: *const bpf_sk_lookup) -> bool {
    // Linux before 5.17 refuses a program that reads the field, but not one whose constants keep it from doing so.
    HAS_INTERFACE.load() != 0 && field!(ctx, ingress_ifindex) == LOOPBACK
}

/// Whether the peer of a connection has sent its FIN.
#[inline(always)]
pub(crate) fn fin_received(socket: *mut bpf_sock) -> bool {
    tcp_sock(socket.cast()).is_some_and(|sock| member::<u64>(sock, offset!(flags)) & SOCK_DONE != 0)
}

/// Whether the kernel tells that nothing has gone wrong with a connection.
#[inline(always)]
pub(crate) fn has_no_error(socket: *mut bpf_sock) -> bool {
    offset!(error) != 0
        && tcp_sock(socket.cast()).is_some_and(|sock| member::<u32>(sock, offset!(error)) == 0)
}

/// A field of a kernel structure; 0 if it cannot be read.
#[inline(always)]
pub(crate) fn read_kernel<T: Default>(base: *const u8, offset: u32) -> T {
    let mut value = T::default();
    // SAFETY: the helper checks the source, and writes exactly one `T`.
    unsafe {
        bpf_probe_read_kernel(
            addr_of_mut!(value).cast(),
            size_of::<T>() as u32,
            base.wrapping_add(offset as usize).cast(),
        );
    }
    value
}

/// The owner noted on a socket.
#[inline(always)]
pub(crate) fn owner(socket: *mut bpf_sock) -> Option<&'static mut Owner> {
    // SAFETY: the storage lives as long as the socket, which outlives this run of the program.
    unsafe { bpf_sk_storage_get(OWNERS.as_ptr(), socket.cast(), null_mut(), 0).cast::<Owner>().as_mut() }
}

/// Notes `owner` on a listener, for itself and for the connections that it will accept.
#[inline(always)]
pub(crate) fn set_owner(socket: *mut bpf_sock, mut owner: Owner) {
    let create = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: as in `owner`; the helper copies the initial value.
    let noted = unsafe {
        bpf_sk_storage_get(OWNERS.as_ptr(), socket.cast(), addr_of_mut!(owner).cast(), create)
            .cast::<Owner>()
            .as_mut()
    };
    if let Some(noted) = noted {
        *noted = owner;
    }
}

/// Adds to a counter of this CPU's own, where another program on it may come between.
///
/// The end of a connection is often seen by its process, which the network, or another process, may interrupt.
#[inline(always)]
pub(crate) fn add(counter: *mut u64, value: u64) {
    // SAFETY: the caller took the pointer from a row of a map. Of the intrinsic's kind the kernel has known the one
    // whose result is not used from the beginning (`BPF_XADD`).
    unsafe { core::intrinsics::atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// The raw context of a program.
#[inline(always)]
pub(crate) fn raw<T>(ctx: &impl EbpfContext) -> *mut T {
    ctx.as_ptr().cast()
}
