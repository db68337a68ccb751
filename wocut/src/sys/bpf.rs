//! Commands of `bpf(2)` that aya does not offer.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::Pod;
use rustix::process::{Resource, Rlimit, setrlimit};

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_BTF_LOAD: libc::c_int = 18;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;
const BPF_MAP_DELETE_BATCH: libc::c_int = 27;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_ITER_CREATE: libc::c_int = 33;
const BPF_LINK_DETACH: libc::c_int = 34;

/// All rows of a hash map, in few calls. Linux 5.6.
pub fn rows<K: Pod, V: Pod>(map: BorrowedFd<'_>) -> io::Result<Vec<(K, V)>> {
    let map = number(map)?;
    let (mut rows, mut at, mut room) = (Vec::new(), None::<u32>, 256);
    loop {
        let (mut keys, mut values) = (Vec::<K>::with_capacity(room), Vec::<V>::with_capacity(room));
        let mut next = 0u32;
        let mut batch = Batch {
            from: at.as_ref().map_or(0, |at| std::ptr::from_ref(at) as u64),
            next: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(room).map_err(io::Error::other)?,
            map,
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: `batch` is the layout that the command reads and writes; keys and values have room for `count`, and the
        // kernel knows their sizes by the map.
        let read = unsafe { bpf_mut(BPF_MAP_LOOKUP_BATCH, &mut batch) };
        let is_last = match read {
            // One bucket has more rows than there is room for.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                room *= 2;
                continue;
            }
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            other => other.is_err(),
        };
        let count = usize::try_from(batch.count).map_err(io::Error::other)?.min(room);
        // SAFETY: the kernel wrote so many, and a `Pod` may hold any bits.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        rows.extend(keys.into_iter().zip(values));
        if is_last {
            return Ok(rows);
        }
        at = Some(next);
    }
}

/// `union bpf_attr` for commands on many rows at once.
#[repr(C)]
struct Batch {
    from: u64,
    next: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Puts maps into places of an array of maps. When this returns, no program that began before still runs, so none sees
/// what was there (`maybe_wait_bpf_programs`). From Linux 6.8 on the kernel waits once, before that once a map.
pub fn put_maps(array: BorrowedFd<'_>, maps: &[(u32, BorrowedFd<'_>)]) -> io::Result<()> {
    let indices: Vec<u32> = maps.iter().map(|(index, _)| *index).collect();
    let maps = maps.iter().map(|(_, map)| number(*map)).collect::<io::Result<Vec<u32>>>()?;
    each(array, &indices, Some(&maps))
}

/// Empties places of an array of maps, and waits as [`put_maps`] does.
pub fn take_maps(array: BorrowedFd<'_>, indices: &[u32]) -> io::Result<()> {
    each(array, indices, None)
}

/// Writes values under keys, or deletes the keys, all in one call where the kernel has that for arrays of maps
/// (Linux 5.19).
fn each(map: BorrowedFd<'_>, keys: &[u32], values: Option<&[u32]>) -> io::Result<()> {
    #[repr(C)]
    struct Element {
        map: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let value = |n: usize| values.map_or(0, |values| std::ptr::from_ref(&values[n]) as u64);
    let (one, all) = match values {
        Some(_) => (BPF_MAP_UPDATE_ELEM, BPF_MAP_UPDATE_BATCH),
        None => (BPF_MAP_DELETE_ELEM, BPF_MAP_DELETE_BATCH),
    };
    let map = number(map)?;
    if let [_, _, ..] = keys {
        let mut batch = Batch {
            from: 0,
            next: 0,
            keys: keys.as_ptr() as u64,
            values: values.map_or(0, |values| values.as_ptr() as u64),
            count: u32::try_from(keys.len()).map_err(io::Error::other)?,
            map,
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: `batch` is the layout that the command reads and writes, and `keys` and `values` have `count` numbers.
        if unsafe { bpf_mut(all, &mut batch) }.is_ok() {
            return Ok(());
        }
    }
    keys.iter().enumerate().try_for_each(|(n, key)| {
        let attr = Element { map, key: std::ptr::from_ref(key) as u64, value: value(n), flags: 0 };
        // SAFETY: `attr` is the layout that the command reads; key and value point to numbers that live through the call.
        unsafe { bpf(one, &attr) }.map(drop)
    })
}

/// What a pinned iterator writes, for who reads it to the end. Linux 5.8. aya's way takes `CAP_SYS_ADMIN`: it asks for the
/// kernel's types by their number.
pub fn iterate(pin: &Path) -> io::Result<fs::File> {
    const BPF_TRACE_ITER: u32 = 28;
    #[repr(C)]
    struct Attach {
        program: u32,
        target: u32,
        kind: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Start {
        link: u32,
        flags: u32,
    }
    let program = open(pin)?;
    let attr = Attach { program: number(program.as_fd())?, target: 0, kind: BPF_TRACE_ITER, flags: 0 };
    // SAFETY: `attr` is the layout that the command reads.
    let link = descriptor(unsafe { bpf(BPF_LINK_CREATE, &attr) }?)?;
    let attr = Start { link: number(link.as_fd())?, flags: 0 };
    // SAFETY: `attr` is the layout that the command reads.
    Ok(descriptor(unsafe { bpf(BPF_ITER_CREATE, &attr) }?)?.into())
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

/// Inode number of the network namespace that a pinned link is on, or number of the interface; 0 when that is gone.
pub fn target_of_link(pin: &Path) -> io::Result<u32> {
    let mut info = LinkInfo::default();
    // SAFETY: a `LinkInfo` may hold any bits.
    unsafe { info_of(open(pin)?.as_fd(), &mut info) }?;
    Ok(info.target)
}

/// Where programs may be attached.
#[derive(Clone, Copy, Debug)]
pub enum Hook<'a> {
    /// The lookup of listeners in a network namespace. Linux 5.9.
    Lookup(BorrowedFd<'a>),
    /// What becomes of the sockets of a cgroup. Linux 4.13.
    SockOps(BorrowedFd<'a>),
    /// What comes in on the interface of that number, by way of tcx. Linux 6.6.
    TcxIngress(u32),
    /// What goes out there.
    TcxEgress(u32),
}

/// The numbers of the programs on a hook, in the order in which they run.
pub fn programs_on(hook: Hook<'_>) -> io::Result<Vec<u32>> {
    /// The kernel runs no more than 64 on any of these.
    const MOST: usize = 64;
    #[repr(C)]
    struct Query {
        target: u32,
        attach_type: u32,
        flags: u32,
        attach_flags: u32,
        programs: u64,
        count: u32,
        padding: u32,
        program_flags: u64,
        links: u64,
        link_flags: u64,
        revision: u64,
    }
    let (target, attach_type) = match hook {
        Hook::Lookup(netns) => (number(netns)?, 36),
        Hook::SockOps(cgroup) => (number(cgroup)?, 3),
        Hook::TcxIngress(interface) => (interface, 46),
        Hook::TcxEgress(interface) => (interface, 47),
    };
    let mut found = [0u32; MOST];
    let mut attr = Query {
        target,
        attach_type,
        flags: 0,
        attach_flags: 0,
        programs: (&raw mut found) as u64,
        count: u32::try_from(MOST).map_err(io::Error::other)?,
        padding: 0,
        program_flags: 0,
        links: 0,
        link_flags: 0,
        revision: 0,
    };
    // SAFETY: `attr` is the layout that the command reads and writes, and `found` has room for `count` numbers.
    unsafe { bpf_mut(BPF_PROG_QUERY, &mut attr) }?;
    let count = usize::try_from(attr.count).map_err(io::Error::other)?;
    Ok(found[..count.min(MOST)].to_vec())
}

/// Lets this process make maps and load programs. Before Linux 5.11 these count as locked memory of their user, with all that
/// the user's processes have made so far.
pub fn lift_memory_limit() {
    let unlimited = Rlimit { current: None, maximum: None };
    // Where this is refused, the call that is over the limit says so itself.
    let _refused = setrlimit(Resource::Memlock, unlimited);
}

/// Kinds of maps that hold sockets, or hang on them.
#[derive(Clone, Copy, Debug)]
pub enum MapKind {
    /// Sockets by key. Linux 4.18.
    SockHash,
    /// A record a socket. Linux 5.2.
    SocketStorage,
}

/// `union bpf_attr` for making a map, as far as these need it.
#[repr(C)]
#[derive(Default)]
struct Create {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
    numa_node: u32,
    name: [u8; 16],
    interface: u32,
    types: u32,
    key_type: u32,
    value_type: u32,
}

fn create(attr: &Create) -> io::Result<OwnedFd> {
    lift_memory_limit();
    // SAFETY: `attr` is the layout that the command reads.
    descriptor(unsafe { bpf(BPF_MAP_CREATE, attr) }?)
}

/// Tries whether a map can be made, and leaves none.
pub fn try_map(kind: MapKind, value_size: u32) -> io::Result<()> {
    let no_types = Create { kind: 18, key_size: 4, value_size, max_entries: 1, ..Create::default() };
    let types;
    let attr = match kind {
        MapKind::SockHash => no_types,
        // A storage wants types: one number as key, and as value.
        MapKind::SocketStorage => {
            types = load_types(&[1, INTEGER, 4, 32, 5, INTEGER, 8, 64], b"\0int\0long\0")?;
            let types = number(types.as_fd())?;
            let (key_type, value_type) = (1, 2);
            Create { kind: 24, max_entries: 0, flags: 1, types, key_type, value_type, ..no_types }
        }
    };
    create(&attr).map(drop)
}

/// Makes an array of one value, for a place in an array of maps whose own maps have type information: Linux before 6.2
/// takes none without. From 5.15 to 6.1 it also compares where a value has its timer, and says "nowhere" of a structure in
/// another way than of anything else (`btf_find_field`).
pub fn create_array(value_size: u32) -> io::Result<OwnedFd> {
    // 1 is `u32`, 2 is `u8`, 3 is `u8[value_size]`, 4 is a structure of one 3.
    let bytes = [0, ARRAY, 0, 2, 1, value_size];
    let structure = [0, STRUCTURE | 1, value_size, 0, 3, 0];
    let types = [&[1, INTEGER, 4, 32, 5, INTEGER, 1, 8], &bytes[..], &structure].concat();
    let types = load_types(&types, b"\0u32\0u8\0")?;
    create(&Create {
        kind: 2,
        key_size: 4,
        value_size,
        max_entries: 1,
        types: number(types.as_fd())?,
        key_type: 1,
        value_type: 4,
        ..Create::default()
    })
}

/// Makes a hash map that takes memory only for the rows that it has.
pub fn create_hash(key_size: u32, value_size: u32, max_entries: u32) -> io::Result<OwnedFd> {
    const BPF_F_NO_PREALLOC: u32 = 1;
    create(&Create {
        kind: 1,
        key_size,
        value_size,
        max_entries,
        flags: BPF_F_NO_PREALLOC,
        ..Create::default()
    })
}

/// Makes a ring buffer of so many bytes: a power of two, and whole pages. Linux 5.8.
pub fn create_ring(bytes: u32) -> io::Result<OwnedFd> {
    create(&Create { kind: 27, max_entries: bytes, ..Create::default() })
}

/// Sockets that have just got their address.
#[derive(Clone, Copy, Debug)]
pub enum PostBind {
    /// Of IPv4.
    V4 = 12,
    /// Of IPv6.
    V6 = 13,
}

/// One instruction, as the kernel reads it.
pub type Instruction = [u8; 8];

/// Has the kernel run a program within every `bind(2)` in a cgroup, as long as what is returned is open. Linux 5.7.
pub fn run_post_bind(cgroup: BorrowedFd<'_>, family: PostBind, code: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        code: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        hook: u32,
    }
    #[repr(C)]
    struct Attach {
        program: u32,
        target: u32,
        hook: u32,
        flags: u32,
    }
    const BPF_PROG_TYPE_CGROUP_SOCK: u32 = 9;
    let hook = family as u32;
    let attr = Load {
        kind: BPF_PROG_TYPE_CGROUP_SOCK,
        count: u32::try_from(code.len()).map_err(io::Error::other)?,
        code: code.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"wocut_bound\0\0\0\0\0",
        interface: 0,
        hook,
    };
    // SAFETY: `attr` is the layout that the command reads, and `code` has `count` instructions.
    let program = descriptor(unsafe { bpf(BPF_PROG_LOAD, &attr) }?)?;
    let attr = Attach { program: number(program.as_fd())?, target: number(cgroup)?, hook, flags: 0 };
    // SAFETY: `attr` is the layout that the command reads.
    descriptor(unsafe { bpf(BPF_LINK_CREATE, &attr) }?)
}

const INTEGER: u32 = 1 << 24;
const ARRAY: u32 = 3 << 24;
const STRUCTURE: u32 = 4 << 24;

/// Gives the kernel type information: <https://docs.kernel.org/bpf/btf.html>.
fn load_types(types: &[u32], strings: &[u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        data: u64,
        log: u64,
        length: u32,
        log_size: u32,
        log_level: u32,
    }
    let types: Vec<u8> = types.iter().copied().flat_map(u32::to_ne_bytes).collect();
    let lengths = [24, 0, types.len(), types.len(), strings.len()];
    let mut data = [&0xeb9fu16.to_ne_bytes()[..], &[1, 0]].concat();
    for length in lengths {
        data.extend(u32::try_from(length).map_err(io::Error::other)?.to_ne_bytes());
    }
    data.extend(types);
    data.extend(strings);
    let length = u32::try_from(data.len()).map_err(io::Error::other)?;
    let attr = Load { data: data.as_ptr() as u64, log: 0, length, log_size: 0, log_level: 0 };
    // SAFETY: `attr` is the layout that the command reads, and `data` has the length that it says.
    descriptor(unsafe { bpf(BPF_BTF_LOAD, &attr) }?)
}

/// `struct bpf_prog_info`, as far as the name.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    code: [u64; 2],
    load_time: u64,
    created_by: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
}

/// The name of a program. Takes `CAP_SYS_ADMIN`.
pub fn program_name(id: u32) -> io::Result<String> {
    #[repr(C)]
    struct ById {
        id: u32,
        next_id: u32,
        flags: u32,
    }
    let attr = ById { id, next_id: 0, flags: 0 };
    // SAFETY: `attr` is the layout that the command reads.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &attr) }?;
    let mut info = ProgramInfo::default();
    // SAFETY: a `ProgramInfo` may hold any bits.
    unsafe { info_of(descriptor(fd)?.as_fd(), &mut info) }?;
    let end = info.name.iter().position(|byte| *byte == 0).unwrap_or(info.name.len());
    Ok(String::from_utf8_lossy(&info.name[..end]).into_owned())
}

/// The number of the program that is pinned here, or whose link is; nothing if this is a map.
pub fn pinned_program(pin: &Path) -> io::Result<Option<u32>> {
    let fd = open(pin)?;
    let kind = fs::read_link(format!("/proc/thread-self/fd/{}", fd.as_raw_fd()))?;
    let kind = kind.to_string_lossy().replace('_', "-");
    if kind.ends_with("bpf-prog") {
        let mut info = ProgramInfo::default();
        // SAFETY: a `ProgramInfo` may hold any bits.
        unsafe { info_of(fd.as_fd(), &mut info) }?;
        return Ok(Some(info.id));
    }
    if kind.ends_with("bpf-link") {
        let mut info = LinkInfo::default();
        // SAFETY: a `LinkInfo` may hold any bits.
        unsafe { info_of(fd.as_fd(), &mut info) }?;
        return Ok(Some(info.program));
    }
    Ok(None)
}

/// Has the kernel fill in what it knows of an object.
///
/// # Safety
///
/// `T` must be laid out as the kernel's information on such an object begins, and any bits in it must be valid.
unsafe fn info_of<T>(fd: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    #[repr(C)]
    struct GetInfo {
        fd: u32,
        length: u32,
        info: u64,
    }
    let length = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let attr = GetInfo { fd: number(fd)?, length, info: std::ptr::from_mut(info) as u64 };
    // SAFETY: `attr` is the layout that the command reads, `info` has the length that it says, and the caller knows the
    // rest.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) }.map(drop)
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
    descriptor(fd)
}

/// The descriptor that a command returned.
fn descriptor(fd: libc::c_long) -> io::Result<OwnedFd> {
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

/// As [`bpf`], for commands that write into `attr`.
///
/// # Safety
///
/// `attr` must be what the command expects, and pointers in it must be valid.
unsafe fn bpf_mut<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
