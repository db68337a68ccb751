//! Values of the kernel's that a process writes in place.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

/// The 64-bit numbers that the rows of an array map begin with, made with `BPF_F_MMAPABLE` (Linux 5.5). A program sees a
/// number before a store or after it, which `bpf(2)` does not promise: it copies values byte by byte.
pub struct SharedArray {
    start: NonNull<AtomicU64>,
    len: usize,
    /// Numbers that a row takes.
    row: usize,
}

impl SharedArray {
    /// Of the first `len` rows of the map, which are `row` times 64 bits long.
    pub fn map(map: BorrowedFd<'_>, len: usize, row: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, where the kernel likes; it refuses one that is longer than the map.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), size(len * row), access, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, len, row })
    }

    /// Every number.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        self.places().iter().step_by(self.row).map(|place| place.load(Ordering::Acquire))
    }

    /// One number; 0 behind the end.
    pub fn get(&self, index: usize) -> u64 {
        self.places().get(index * self.row).map_or(0, |place| place.load(Ordering::Acquire))
    }

    /// Replaces a number; what this process wrote before can be seen by who sees the new one.
    pub fn set(&self, index: usize, value: u64) {
        if let Some(place) = self.places().get(index * self.row) {
            place.store(value, Ordering::Release);
        }
    }

    fn places(&self) -> &[AtomicU64] {
        // SAFETY: `map` made it so long, and it lives as long as `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len * self.row) }
    }
}

impl Drop for SharedArray {
    fn drop(&mut self) {
        // SAFETY: this is what `map` made, and nobody has it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), size(self.len * self.row)) };
    }
}

const fn size(numbers: usize) -> usize {
    numbers * size_of::<u64>()
}
