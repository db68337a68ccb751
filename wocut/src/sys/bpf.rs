//! Commands of `bpf(2)` that aya does not offer.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;

/// Empties a place of an array of maps.
pub fn delete_element(map: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    #[repr(C)]
    struct Element {
        map_fd: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let attr = Element { map_fd: number(map)?, key: (&raw const index) as u64, value: 0, flags: 0 };
    // SAFETY: `attr` is the layout that the command reads, and `key` points to a u32 that lives through the call.
    unsafe { bpf(BPF_MAP_DELETE_ELEM, &attr) }.map(drop)
}

/// Has a pinned link run another program from now on; no packet meets neither. Linux 5.7.
pub fn update_link(pin: &Path, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Update {
        link_fd: u32,
        new_prog_fd: u32,
        flags: u32,
        old_prog_fd: u32,
    }
    let link = open(pin)?;
    let attr =
        Update { link_fd: number(link.as_fd())?, new_prog_fd: number(program)?, flags: 0, old_prog_fd: 0 };
    // SAFETY: `attr` is the layout that the command reads.
    unsafe { bpf(BPF_LINK_UPDATE, &attr) }.map(drop)
}

/// Takes the program of a pinned link off its hook at once. To remove the pin alone is not enough: the kernel lets go
/// of a link later. Linux 5.9.
pub fn detach_link(pin: &Path) -> io::Result<()> {
    let link = open(pin)?;
    let attr = number(link.as_fd())?;
    // SAFETY: the command reads the number of the link.
    unsafe { bpf(BPF_LINK_DETACH, &attr) }.map(drop)
}

/// Inode number of the network namespace that a pinned link is on; 0 when that is gone.
pub fn netns_of_link(pin: &Path) -> io::Result<u32> {
    /// `struct bpf_link_info`, as far as a link on a namespace fills it.
    #[repr(C)]
    #[derive(Default)]
    struct LinkInfo {
        kind: u32,
        id: u32,
        program: u32,
        padding: u32,
        netns_inode: u32,
        attach_type: u32,
    }
    #[repr(C)]
    struct GetInfo {
        fd: u32,
        length: u32,
        info: u64,
    }
    let link = open(pin)?;
    let mut info = LinkInfo::default();
    let length = u32::try_from(size_of::<LinkInfo>()).map_err(io::Error::other)?;
    let attr = GetInfo { fd: number(link.as_fd())?, length, info: (&raw mut info) as u64 };
    // SAFETY: `attr` is the layout that the command reads, and `info` has the length that it says.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) }?;
    Ok(info.netns_inode)
}

fn open(pin: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Pin {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attr = Pin { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: `attr` is the layout that the command reads, and `path` lives through the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &attr) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) })
}

fn number(fd: BorrowedFd<'_>) -> io::Result<u32> {
    u32::try_from(fd.as_raw_fd()).map_err(io::Error::other)
}

/// # Safety
///
/// `attr` must be what the command expects, and pointers in it must be valid.
unsafe fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
