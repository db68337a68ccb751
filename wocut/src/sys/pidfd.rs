//! The end of a process, as something to wait for. Linux 5.3.

use std::{io, os::fd::OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{Interest, unix::AsyncFd};

/// A process whose end can be waited for without reaping it.
pub struct Pidfd(AsyncFd<OwnedFd>);

impl Pidfd {
    /// Of the process that has this number now. Needs a tokio runtime with I/O.
    pub fn open(process: Pid) -> io::Result<Self> {
        let descriptor = pidfd_open(process, PidfdFlags::empty())?;
        // SAFETY: an `OwnedFd` is open and the same as long as it is owned, which it is from here on.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        Ok(Self(registered.map_err(|error| error.into_parts().1)?))
    }

    /// Waits until the process has ended.
    pub async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::Pid;

    use super::Pidfd;

    #[tokio::test]
    async fn end_is_seen_before_it_is_reaped() {
        let mut child = Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().unwrap();
        Pidfd::open(Pid::from_child(&child)).unwrap().ended().await.unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}
