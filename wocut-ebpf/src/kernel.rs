//! Every raw read: of program contexts, of sockets, of kernel memory.
//!
//! Contexts are read field by field with volatile loads. The verifier allows only whole fields, and the compiler
//! would otherwise merge neighbours into one load.

use core::{
    ffi::c_void,
    intrinsics::AtomicOrdering,
    ptr::{addr_of_mut, null_mut},
};

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sk_lookup, bpf_sock, bpf_sock_ops},
    helpers::{bpf_sk_storage_get, bpf_skc_to_tcp_sock, generated::bpf_probe_read_kernel},
};
use wocut_common::{FAMILY_V4, FAMILY_V6, Owner, PROTOCOL_TCP, ServiceKey};

use crate::maps::{ACK_BACKLOG_OFFSET, FLAGS_OFFSET, MAX_ACK_BACKLOG_OFFSET, OWNERS};

const AF_INET: u32 = 2;
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

/// Both ends of the packet for which a listener is looked up.
pub(crate) struct Tuple {
    /// Wocut's name of the address family.
    pub(crate) family: u8,
    /// In network order; IPv4 takes the first word.
    pub(crate) remote: [u32; 4],
    /// In network order.
    pub(crate) remote_port: u16,
    /// In network order; IPv4 takes the first word.
    pub(crate) local: [u32; 4],
    /// In host order.
    pub(crate) local_port: u16,
}

impl Tuple {
    /// What the lookup is for, if that is TCP.
    #[inline(always)]
    pub(crate) fn of_lookup(ctx: *const bpf_sk_lookup) -> Option<Self> {
        if field!(ctx, protocol) != IPPROTO_TCP {
            return None;
        }
        let remote_port = field!(ctx, remote_port);
        let local_port = field!(ctx, local_port) as u16;
        Some(if field!(ctx, family) == AF_INET {
            let remote = [field!(ctx, remote_ip4), 0, 0, 0];
            let local = [field!(ctx, local_ip4), 0, 0, 0];
            Self { family: FAMILY_V4, remote, remote_port, local, local_port }
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
            Self { family: FAMILY_V6, remote, remote_port, local, local_port }
        })
    }

    /// Where its service would be listed by address.
    #[inline(always)]
    pub(crate) fn service_key(&self) -> ServiceKey {
        ServiceKey {
            address: bytes(self.local),
            port: self.local_port,
            family: self.family,
            protocol: PROTOCOL_TCP,
        }
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

/// Whether the accept queue of a listener is full, as `sk_acceptq_is_full` of the kernel sees it.
///
/// A SYN for a full one is dropped without a word, and the client waits a second to try again.
#[inline(always)]
pub(crate) fn accept_queue_is_full(listener: *mut c_void) -> bool {
    let offset = ACK_BACKLOG_OFFSET.load();
    if offset == 0 {
        return false;
    }
    // SAFETY: `listener` is a socket that a map lookup returned.
    let sock = unsafe { bpf_skc_to_tcp_sock(listener) };
    if sock.is_null() {
        return false;
    }
    let queued: u32 = read_kernel(sock.cast(), offset);
    let most: u32 = read_kernel(sock.cast(), MAX_ACK_BACKLOG_OFFSET.load());
    queued > most
}

/// Whether the peer of a connection has sent its FIN.
#[inline(always)]
pub(crate) fn fin_received(socket: *mut bpf_sock) -> bool {
    let offset = FLAGS_OFFSET.load();
    if offset == 0 {
        return false;
    }
    // SAFETY: `socket` is the context's own, checked not to be null.
    let sock = unsafe { bpf_skc_to_tcp_sock(socket.cast()) };
    if sock.is_null() {
        return false;
    }
    read_kernel::<u64>(sock.cast(), offset) & SOCK_DONE != 0
}

/// A field of a kernel structure; 0 if it cannot be read.
#[inline(always)]
fn read_kernel<T: Default>(base: *const u8, offset: u32) -> T {
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
