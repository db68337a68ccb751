//! Runs code that would read a file, and does well without.

use std::{io, mem::offset_of, thread};

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO,
    sock_filter, sock_fprog,
};

/// On a thread of its own, which may open no files: the kernel answers `EACCES`. Where it will not have that, the code
/// runs all the same, and opens what it likes.
pub fn run<T: Send + 'static>(code: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let guarded = move || {
        let _as_it_is = refuse_to_open();
        code()
    };
    thread::spawn(guarded).join().map_err(|_| io::Error::other("its thread ended early"))
}

/// Has the kernel refuse this thread to open files, for as long as it lives.
fn refuse_to_open() -> io::Result<()> {
    let number = u32::try_from(offset_of!(libc::seccomp_data, nr)).map_err(io::Error::other)?;
    let openat = u32::try_from(libc::SYS_openat).map_err(io::Error::other)?;
    let refused = SECCOMP_RET_ERRNO | u32::try_from(libc::EACCES).map_err(io::Error::other)?;
    let mut filter = [
        instruction(BPF_LD | BPF_W | BPF_ABS, number, 0)?,
        // Skips one instruction unless it is that call.
        instruction(BPF_JMP | BPF_JEQ | BPF_K, openat, 1)?,
        instruction(BPF_RET | BPF_K, refused, 0)?,
        instruction(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0)?,
    ];
    let program = sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: it takes rights from this thread alone. Without CAP_SYS_ADMIN the kernel wants this promise first.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `program` is a filter of four instructions, which lives through the call; it is for this thread alone.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn instruction(code: u32, k: u32, unless: u8) -> io::Result<sock_filter> {
    Ok(sock_filter { code: code.try_into().map_err(io::Error::other)?, jt: 0, jf: unless, k })
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn only_the_code_itself_opens_no_files() {
        let refused = super::run(|| fs::read("/proc/self/status").map_err(|error| error.kind()));
        assert_eq!(refused.ok(), Some(Err(std::io::ErrorKind::PermissionDenied)));
        assert!(fs::read("/proc/self/status").is_ok());
    }
}
