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

const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_BTF_LOAD: libc::c_int = 18;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;

/// Makes an array of one value, for a place in an array of maps whose own maps have type information: Linux before 6.2
/// takes none without.
pub fn create_array(name: &str, value_size: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Create {
        kind: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        name: [u8; 16],
        ifindex: u32,
        btf_fd: u32,
        btf_key_type: u32,
        btf_value_type: u32,
    }
    let types = array_types(value_size)?;
    let mut attr = Create {
        kind: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size,
        max_entries: 1,
        btf_fd: number(types.as_fd())?,
        btf_key_type: 1,
        btf_value_type: 3,
        ..Create::default()
    };
    // The kernel wants the name to end in a zero.
    for (place, byte) in attr.name.iter_mut().take(15).zip(name.bytes()) {
        *place = byte;
    }
    // SAFETY: `attr` is the layout that the command reads.
    owned(unsafe { bpf(BPF_MAP_CREATE, &attr) }?)
}

/// Type information of an array of bytes: 1 is `u32`, 2 is `u8`, 3 is `u8[size]`.
///
/// <https://docs.kernel.org/bpf/btf.html>
fn array_types(size: u32) -> io::Result<OwnedFd> {
    const INTEGER: u32 = 1 << 24;
    const ARRAY: u32 = 3 << 24;
    #[repr(C)]
    struct Load {
        btf: u64,
        log: u64,
        btf_size: u32,
        log_size: u32,
        log_level: u32,
    }
    let strings = *b"\0u32\0u8\0\0\0\0";
    let types = [1, INTEGER, 4, 32, 5, INTEGER, 1, 8, 0, ARRAY, 0, 2, 1, size];
    let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let (types_length, strings_length) = (length(size_of_val(&types))?, length(strings.len())?);
    let magic_and_version = 0x0001_eb9f;
    let header = [magic_and_version, 24, 0, types_length, types_length, strings_length];
    let mut btf: Vec<u8> = header.into_iter().chain(types).flat_map(u32::to_ne_bytes).collect();
    btf.extend(strings);
    let attr =
        Load { btf: btf.as_ptr() as u64, log: 0, btf_size: length(btf.len())?, log_size: 0, log_level: 0 };
    // SAFETY: `attr` is the layout that the command reads, and `btf` lives through the call.
    owned(unsafe { bpf(BPF_BTF_LOAD, &attr) }?)
}

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

/// Inode number of the network namespace that a pinned link is on, or number of the interface; 0 when that is gone.
pub fn target_of_link(pin: &Path) -> io::Result<u32> {
    /// `struct bpf_link_info`, as far as a link on a namespace or on an interface fills it.
    #[repr(C)]
    #[derive(Default)]
    struct LinkInfo {
        kind: u32,
        id: u32,
        program: u32,
        padding: u32,
        target: u32,
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
    Ok(info.target)
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
    owned(fd)
}

/// A descriptor that the kernel has just made for us.
fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    // SAFETY: nobody else knows it.
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
