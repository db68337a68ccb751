//! Puts listeners that were there before into the map, where `register` may not: Linux 7 lets tc programs change no map
//! of sockets. A command reads the program's iterator, which walks over every TCP socket of the namespace.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_TCP_LISTEN, bpf_sock, seq_file},
    helpers::generated::{bpf_map_update_elem, bpf_seq_write},
};
use wocut_common::{FAMILY_V4, FAMILY_V6, ListenerKey, Owner, Scanned};

use crate::{
    account::instances_at,
    kernel::{self, AF_INET, AF_INET6, bytes, field, offset},
    maps::LISTENERS,
    register::register,
};

/// `struct bpf_iter__tcp`, which the kernel's own headers do not export.
#[repr(C)]
pub(crate) struct Context {
    meta: *mut Meta,
    socket: *mut c_void,
}

/// `struct bpf_iter_meta`, as far as it is needed.
#[repr(C)]
struct Meta {
    output: *mut seq_file,
}

/// The iterator is at a socket: if it is an instance's listener, registers it, and writes down what became of that.
#[inline(always)]
pub(crate) fn scan(ctx: *mut Context) {
    let socket = field!(ctx, socket);
    if socket.is_null() || kernel::read_kernel::<u8>(socket.cast(), offset!(state)) != BPF_TCP_LISTEN as u8 {
        return;
    }
    let port = kernel::read_kernel::<u16>(socket.cast(), offset!(port));
    let (family, address) = match u32::from(kernel::read_kernel::<u16>(socket.cast(), offset!(family))) {
        AF_INET => (FAMILY_V4, [kernel::read_kernel(socket.cast(), offset!(address_v4)), 0, 0, 0]),
        AF_INET6 => (FAMILY_V6, kernel::read_kernel(socket.cast(), offset!(address_v6))),
        _ => return,
    };
    let address = bytes(address);
    let Some(instances) = instances_at(address, port, family) else { return };
    let mut error = 0;
    let device = kernel::read_kernel::<u32>(socket.cast(), offset!(device));
    let owner = Owner { instances, service: Owner::UNCOUNTED };
    let known = kernel::owner(socket.cast::<bpf_sock>()).is_some_and(|noted| *noted == owner);
    if device == 0 && !known {
        for instance in instances {
            if instance == 0 {
                break;
            }
            let result = register(instance, family, |key, flags| put(socket, key, flags));
            if error == 0 {
                error = result;
            }
        }
        kernel::set_owner(socket.cast(), owner);
    }
    let scanned = Scanned { address, port, family: family.into(), device, error };
    let meta = field!(ctx, meta);
    let output = field!(meta, output);
    // SAFETY: the helper reads as many bytes as there are.
    unsafe {
        bpf_seq_write(output, (&raw const scanned).cast(), size_of::<Scanned>() as u32);
    }
}

#[inline(always)]
fn put(socket: *mut c_void, key: ListenerKey, flags: u64) -> i64 {
    let map = core::ptr::from_ref(&LISTENERS).cast_mut().cast();
    // SAFETY: the helper reads one key and takes the socket itself, which the iterator has locked.
    unsafe { bpf_map_update_elem(map, core::ptr::from_ref(&key).cast(), socket, flags) }
}
