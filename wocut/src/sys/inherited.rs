//! What was open before this program began.

use std::{fs, os::fd::RawFd, sync::Once};

/// Keeps descriptors that whoever started this program left open from every program that it starts itself, but for
/// standard input, output and error. Its own are kept from them already. Works once; costs nothing after that.
pub fn close_on_exec() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
        let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter(|number| *number > libc::STDERR_FILENO).for_each(mark);
    });
}

fn mark(number: RawFd) {
    // SAFETY: it reads and writes no memory. It sets a flag that every descriptor of this program has: one that is
    // closed by now is refused, and one that was opened since is not changed.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

    #[test]
    fn descriptors_are_marked() {
        let file = File::open("/dev/null").unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        super::mark(std::os::fd::AsRawFd::as_raw_fd(&file));
        assert_eq!(fcntl_getfd(&file).unwrap(), FdFlags::CLOEXEC);
    }
}
