//! Commands of `bpf(2)` that aya does not offer.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

const BPF_MAP_DELETE_ELEM: libc::c_int = 3;

/// The part of `union bpf_attr` that names one element of a map.
#[repr(C)]
struct Element {
    map_fd: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Empties a place of an array of maps.
pub fn delete_element(map: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let map_fd = u32::try_from(map.as_raw_fd()).map_err(io::Error::other)?;
    let attr = Element { map_fd, key: (&raw const index) as u64, value: 0, flags: 0 };
    // SAFETY: `attr` is the layout that the command reads, and `key` points to a u32 that lives through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_DELETE_ELEM, &raw const attr, size_of::<Element>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
