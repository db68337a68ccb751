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
    use std::{fs::File, os::fd::AsRawFd as _, process::Command};

    use rustix::io::{FdFlags, fcntl_setfd};

    #[test]
    fn what_is_marked_is_not_there_for_a_program() {
        // Once, so that no other test marks the file below.
        super::close_on_exec();
        let file = File::open("/dev/null").unwrap();
        let is_there = || {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            Command::new("/usr/bin/test").args(["-e", &path]).status().unwrap().success()
        };
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        assert!(is_there());
        super::mark(file.as_raw_fd());
        assert!(!is_there());
    }
}
