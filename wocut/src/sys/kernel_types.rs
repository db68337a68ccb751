//! The running kernel's type information, a BTF file of some megabytes.

use std::{borrow::Cow, fs::File, io, io::Read as _, os::fd::AsRawFd as _, ptr, slice};

/// Maps it into memory, where the kernel allows that (Linux 6.16). Else reads it, in pages, which takes 5 ms.
pub fn open() -> io::Result<Cow<'static, [u8]>> {
    let mut file = File::open("/sys/kernel/btf/vmlinux")?;
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let (anywhere, access, kind) = (ptr::null_mut(), libc::PROT_READ, libc::MAP_PRIVATE);
    // SAFETY: a new mapping, where the kernel likes.
    let start = unsafe { libc::mmap(anywhere, len, access, kind, file.as_raw_fd(), 0) };
    if start != libc::MAP_FAILED {
        // SAFETY: these bytes, which nobody writes, stay mapped to the end of the process.
        return Ok(Cow::Borrowed(unsafe { slice::from_raw_parts(start.cast(), len) }));
    }
    let mut copy = Vec::with_capacity(len);
    file.read_to_end(&mut copy)?;
    Ok(Cow::Owned(copy))
}
